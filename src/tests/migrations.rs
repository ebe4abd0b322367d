//! The migrations and `schema.rs` say the same, in both databases, and every migration can be taken back.

use std::collections::BTreeMap;

use diesel::sql_types::{Bool, Text};
use diesel::{QueryableByName, RunQueryDsl as _, sql_query};
use headroom::db::{Connection, Db};
use tempfile::TempDir;

use crate::support::postgres::Postgres;
use crate::support::source;

/// Tables and columns with type and "may be null", as text: `id: BigInt`, `port: Nullable<Integer>`.
type Tables = BTreeMap<String, Vec<String>>;

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Bool)]
    nullable: bool,
}

// A primary key of SQLite's type INTEGER is the row's own 64-bit number.
const SQLITE_COLUMNS: &str = "
    SELECT m.name AS table_name, c.name AS name, CASE WHEN c.pk = 1 THEN 'bigint' ELSE c.type END AS kind,
           c.\"notnull\" = 0 AND c.pk = 0 AS nullable
    FROM sqlite_master m JOIN pragma_table_info(m.name) c
    WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '\\_\\_diesel%' ESCAPE '\\'
    ORDER BY m.name, c.cid";

const POSTGRES_COLUMNS: &str = "
    SELECT table_name::text AS table_name, column_name::text AS name, udt_name::text AS kind, is_nullable = 'YES' AS nullable
    FROM information_schema.columns
    WHERE table_schema = 'public' AND left(table_name, 8) <> '__diesel'
    ORDER BY table_name, ordinal_position";

#[test]
fn sqlite_migrates_up_down_and_up_again_to_what_the_schema_says() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("headroom.db");
    up_down_up(&format!("sqlite://{}", path.display()));
}

#[test]
fn postgres_migrates_up_down_and_up_again_to_what_the_schema_says() {
    let server = Postgres::start();
    up_down_up(&server.url());
}

fn up_down_up(url: &str) {
    let db = Db::open(url).unwrap();
    let expected = schema();
    assert!(expected.len() > 15, "schema.rs was not understood");
    same(&expected, &tables(&db), "after the first way up");
    assert_eq!(
        db.migrate().unwrap(),
        Vec::<String>::new(),
        "nothing is left to do"
    );
    db.revert_all().unwrap();
    assert_eq!(
        tables(&db),
        Tables::new(),
        "the way down leaves nothing behind"
    );
    assert!(!db.migrate().unwrap().is_empty());
    same(&expected, &tables(&db), "after the second way up");
    select_everything(&db, &expected);
}

/// Compares table by table, so that a failure shows one table and not all.
fn same(expected: &Tables, found: &Tables, when: &str) {
    for (table, columns) in expected {
        assert_eq!(Some(columns), found.get(table), "{table} {when}");
    }
    assert_eq!(
        expected.len(),
        found.len(),
        "a table is missing in schema.rs, {when}"
    );
}

/// Reads every column by name: a reserved word or a misspelt name would show here.
fn select_everything(db: &Db, tables: &Tables) {
    let conn = &mut *db.connection().unwrap();
    for (table, columns) in tables {
        let names: Vec<_> = columns
            .iter()
            .map(|column| format!("\"{}\"", column.split(':').next().unwrap()))
            .collect();
        sql_query(format!("SELECT {} FROM \"{table}\"", names.join(", ")))
            .execute(conn)
            .unwrap_or_else(|cause| panic!("{table}: {cause}"));
    }
}

fn tables(db: &Db) -> Tables {
    let columns: Vec<Column> = match &mut *db.connection().unwrap() {
        Connection::Sqlite(conn) => sql_query(SQLITE_COLUMNS).load(conn).unwrap(),
        Connection::Postgres(conn) => sql_query(POSTGRES_COLUMNS).load(conn).unwrap(),
    };
    let mut tables = Tables::new();
    for column in columns {
        let kind = rust_type(&column.kind);
        let kind = if column.nullable {
            format!("Nullable<{kind}>")
        } else {
            kind.to_owned()
        };
        let line = format!("{}: {kind}", column.name);
        tables.entry(column.table_name).or_default().push(line);
    }
    tables
}

/// Diesel's name for a type of either database.
fn rust_type(kind: &str) -> &'static str {
    match kind.to_ascii_lowercase().as_str() {
        "bigint" | "int8" => "BigInt",
        "integer" | "int4" => "Integer",
        "text" => "Text",
        "boolean" | "bool" => "Bool",
        "blob" | "bytea" => "Binary",
        "double" | "double precision" | "real" | "float8" => "Double",
        other => panic!("no Diesel type is known for the column type {other}"),
    }
}

/// What `schema.rs` declares.
fn schema() -> Tables {
    let text = std::fs::read_to_string(source::root().join("src/schema.rs")).unwrap();
    let mut tables = Tables::new();
    for block in text.split("diesel::table! {").skip(1) {
        let (head, body) = block.split_once(") {").unwrap();
        let (name, _) = head.split_once('(').unwrap();
        let (columns, _) = body.split_once('}').unwrap();
        let columns = columns
            .lines()
            .filter_map(|line| line.trim().strip_suffix(','))
            .map(|line| line.replace(" ->", ":"));
        tables.insert(name.trim().to_owned(), columns.collect());
    }
    tables
}
