//! What a JVM has to tell, asked of it now.

use actix_web::web::{Data, Path, Query};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ok;
use crate::app::App;
use crate::clients::jmx::{Datum, Shown};
use crate::web::error::Answer;
use crate::web::mbeans;

/// An attribute of an MBean.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// The Java type that it is said to have.
    #[serde(rename = "type")]
    pub class: String,
    /// What it is, in the words of who wrote the MBean.
    pub description: String,
    /// Its value; a composite as an object. Null where it has none that can be shown.
    pub value: Value,
    /// Why it could not be read.
    pub error: Option<String>,
}

/// Which MBean.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    mbean: String,
}

/// `GET /nodes/{name}/jvms/{jvm}/mbeans`.
///
/// # Errors
/// There is no such JVM, or it does not answer.
pub async fn list(app: Data<App>, place: Path<(String, String)>) -> Answer {
    let (node, jvm) = place.into_inner();
    Ok(ok(&mbeans::names(&app, node, jvm).await?))
}

/// `GET /nodes/{name}/jvms/{jvm}/attributes`.
///
/// # Errors
/// As [`list`], and there is no such MBean.
pub async fn attributes(
    app: Data<App>,
    place: Path<(String, String)>,
    wanted: Query<Wanted>,
) -> Answer {
    let (node, jvm) = place.into_inner();
    let mbean = wanted.into_inner().mbean;
    let shown = mbeans::attributes(&app, node, jvm, mbean).await?;
    let attributes: Vec<Attribute> = shown.into_iter().map(Attribute::from).collect();
    Ok(ok(&attributes))
}

impl From<Shown> for Attribute {
    fn from(shown: Shown) -> Self {
        let (value, error) = match shown.value {
            Ok(datum) => (json(&datum), None),
            Err(why) => (Value::Null, Some(why)),
        };
        Self {
            name: shown.about.name,
            class: shown.about.class,
            description: shown.about.description,
            value,
            error,
        }
    }
}

fn json(datum: &Datum) -> Value {
    match datum {
        Datum::Null => Value::Null,
        Datum::Bool(yes) => Value::from(*yes),
        Datum::Integer(number) => Value::from(*number),
        Datum::Float(number) => Value::from(*number),
        Datum::Text(text) => Value::from(text.as_str()),
        Datum::Members(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), json(member)))
            .collect(),
        Datum::List(_) | Datum::Other(_) => Value::from(datum.to_string()),
    }
}
