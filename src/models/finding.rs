//! Where EC2 and the nodes disagree, as the last look found it.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::{Ec2ProfileId, FindingId, FindingKind};
use crate::schema::findings;

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = findings)]
pub struct Finding {
    /// Row id.
    pub id: FindingId,
    /// What is wrong.
    pub kind: FindingKind,
    /// The profile through which the instance is reached.
    pub ec2_profile_id: Ec2ProfileId,
    /// The cluster that the instance or the node belongs to.
    pub cluster_name: String,
    /// The node, or what the instance was called.
    pub node_name: Option<String>,
    /// The instance.
    pub instance_id: Option<String>,
    /// What was seen, in a sentence.
    pub detail: String,
    /// Seen first at, ms.
    pub first_seen_ms: i64,
    /// Seen last at, ms.
    pub seen_ms: i64,
}

/// What a look saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// See [`Finding::kind`].
    pub kind: FindingKind,
    /// See [`Finding::ec2_profile_id`].
    pub ec2_profile_id: Ec2ProfileId,
    /// See [`Finding::cluster_name`].
    pub cluster_name: String,
    /// See [`Finding::node_name`].
    pub node_name: Option<String>,
    /// See [`Finding::instance_id`].
    pub instance_id: Option<String>,
    /// See [`Finding::detail`].
    pub detail: String,
}

impl Seen {
    fn is(&self, row: &Finding) -> bool {
        self.kind == row.kind
            && self.instance_id == row.instance_id
            && self.node_name == row.node_name
    }
}

impl Finding {
    /// Every disagreement, those seen first before the others.
    ///
    /// # Errors
    /// The database fails.
    pub fn all(conn: &mut Connection) -> Result<Vec<Self>> {
        Ok(findings::table
            .order((findings::first_seen_ms, findings::id))
            .load(conn)?)
    }

    /// The one of an id.
    ///
    /// # Errors
    /// It does not stand (any more), or the database fails.
    pub fn find(conn: &mut Connection, id: FindingId) -> Result<Self> {
        let row = findings::table.find(id).first(conn).optional()?;
        row.ok_or_else(|| Error::NotFound(format!("finding {id}")))
    }

    /// How many there are.
    ///
    /// # Errors
    /// The database fails.
    pub fn count(conn: &mut Connection) -> Result<i64> {
        Ok(findings::table.count().get_result(conn)?)
    }

    /// Says more of it, until the next look.
    ///
    /// # Errors
    /// The database fails.
    pub fn say(conn: &mut Connection, id: FindingId, detail: &str) -> Result<()> {
        diesel::update(findings::table.find(id))
            .set(findings::detail.eq(detail))
            .execute(conn)?;
        Ok(())
    }

    /// It is settled.
    ///
    /// # Errors
    /// The database fails.
    pub fn delete(conn: &mut Connection, id: FindingId) -> Result<()> {
        diesel::delete(findings::table.find(id)).execute(conn)?;
        Ok(())
    }

    /// Replaces what stands for some profiles by what was seen now; what stood before keeps the time it was first seen.
    ///
    /// # Errors
    /// The database fails.
    pub fn replace(
        conn: &mut Connection,
        profiles: &[Ec2ProfileId],
        seen: &[Seen],
        now_ms: i64,
    ) -> Result<()> {
        let standing: Vec<Self> = findings::table
            .filter(findings::ec2_profile_id.eq_any(profiles.to_vec()))
            .load(conn)?;
        for row in &standing {
            if !seen.iter().any(|seen| seen.is(row)) {
                Self::delete(conn, row.id)?;
            }
        }
        for seen in seen {
            match standing.iter().find(|row| seen.is(row)) {
                Some(row) => {
                    diesel::update(findings::table.find(row.id))
                        .set((
                            findings::detail.eq(&seen.detail),
                            findings::seen_ms.eq(now_ms),
                        ))
                        .execute(conn)?;
                }
                None => insert(conn, seen, now_ms)?,
            }
        }
        Ok(())
    }
}

fn insert(conn: &mut Connection, seen: &Seen, now_ms: i64) -> Result<()> {
    diesel::insert_into(findings::table)
        .values((
            findings::kind.eq(seen.kind),
            findings::ec2_profile_id.eq(seen.ec2_profile_id),
            findings::cluster_name.eq(&seen.cluster_name),
            findings::node_name.eq(&seen.node_name),
            findings::instance_id.eq(&seen.instance_id),
            findings::detail.eq(&seen.detail),
            findings::first_seen_ms.eq(now_ms),
            findings::seen_ms.eq(now_ms),
        ))
        .execute(conn)?;
    Ok(())
}
