//! The queries that every named definition has, written once.

/// Gives a row type `all`, `find`, `by_name`, `insert`, `update` and `delete`.
macro_rules! named_queries {
    ($row:ident, $new:ident, $id:ident, $table:ident, $what:literal) => {
        impl $row {
            /// Every row, by name.
            ///
            /// # Errors
            /// The database fails.
            pub fn all(conn: &mut $crate::db::Connection) -> $crate::error::Result<Vec<Self>> {
                Ok($table::table.order($table::name).load(conn)?)
            }

            /// The row of an id.
            ///
            /// # Errors
            /// There is none, or the database fails.
            pub fn find(conn: &mut $crate::db::Connection, id: $id) -> $crate::error::Result<Self> {
                let row = $table::table.find(id).first(conn).optional()?;
                row.ok_or_else(|| $crate::error::Error::NotFound(format!("{} {id}", $what)))
            }

            /// The row of a name.
            ///
            /// # Errors
            /// There is none, or the database fails.
            pub fn by_name(
                conn: &mut $crate::db::Connection,
                name: &str,
            ) -> $crate::error::Result<Self> {
                let row = $table::table
                    .filter($table::name.eq(name))
                    .first(conn)
                    .optional()?;
                row.ok_or_else(|| $crate::error::Error::NotFound(format!("{} \"{name}\"", $what)))
            }

            /// Adds a row.
            ///
            /// # Errors
            /// The name is taken, a reference dangles, or the database fails.
            pub fn insert(
                conn: &mut $crate::db::Connection,
                new: &$new,
            ) -> $crate::error::Result<Self> {
                Ok(diesel::insert_into($table::table)
                    .values(new)
                    .returning($table::all_columns)
                    .get_result(conn)?)
            }

            /// Replaces a row's contents.
            ///
            /// # Errors
            /// The name is taken, a reference dangles, or the database fails.
            pub fn update(
                conn: &mut $crate::db::Connection,
                id: $id,
                new: &$new,
            ) -> $crate::error::Result<()> {
                diesel::update($table::table.find(id))
                    .set(new)
                    .execute(conn)?;
                Ok(())
            }

            /// Removes a row; the caller has asked who uses it.
            ///
            /// # Errors
            /// Something still refers to it, or the database fails.
            pub fn delete(conn: &mut $crate::db::Connection, id: $id) -> $crate::error::Result<()> {
                diesel::delete($table::table.find(id)).execute(conn)?;
                Ok(())
            }
        }
    };
}

pub(crate) use named_queries;
