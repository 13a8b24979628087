//! Tables, format versions, and the steps between them.

use super::OpenPostgresError;
use super::connections::{Connections, Lent};
use crate::StoreError;

/// The first of these brings an empty schema to format 1, the next one format 1 to 2, and so on. Never change one that
/// was released; add another.
const MIGRATIONS: [&str; 1] = [include_str!("schema_1.sql")];
const FORMAT: i64 = MIGRATIONS.len() as i64;
/// Made beside the formats, so that the version before this one still opens the store and passes over this table. Never
/// change it: a later format may.
const REMAINDERS: &str = "
    CREATE TABLE ringleaf_remainders (
        document BYTEA NOT NULL,
        id INT8 NOT NULL,
        record BYTEA NOT NULL,
        PRIMARY KEY (document, id)
    )";
/// Processes that start at once migrate one after another: "RLEF".
const LOCK: i64 = 0x524c_4546;

/// Creates or migrates the tables, or refuses a format that this version does not know.
pub(super) async fn migrate(connections: &Connections) -> Result<(), OpenPostgresError> {
    let mut connection = connections.get().await.map_err(OpenPostgresError::database)?;
    connection.begin("BEGIN").await.map_err(OpenPostgresError::database)?;
    let found = lock_and_look(&mut connection).await.map_err(OpenPostgresError::database)?;
    if found > FORMAT {
        return Err(OpenPostgresError::Newer { found, known: FORMAT });
    }
    if found < FORMAT {
        take_steps(&mut connection, found).await.map_err(OpenPostgresError::database)?;
    }
    add_remainders(&mut connection).await.map_err(OpenPostgresError::database)?;
    connection.end().await.map_err(OpenPostgresError::database)
}

/// Not by `IF NOT EXISTS`: for that a user needs the right to create tables even when there is nothing to create.
async fn add_remainders(connection: &mut Lent) -> Result<(), StoreError> {
    if !is_there(connection, "ringleaf_remainders").await? {
        connection.batch(REMAINDERS).await?;
        tracing::debug!("table of remainders created");
    }
    Ok(())
}

async fn is_there(connection: &mut Lent, table: &'static str) -> Result<bool, StoreError> {
    let sql = "
        SELECT 1 FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = $1";
    Ok(!connection.query(sql, &[&table]).await?.is_empty())
}

/// The format in the schema; zero when there is none.
async fn lock_and_look(connection: &mut Lent) -> Result<i64, StoreError> {
    connection.query("SELECT pg_advisory_xact_lock($1)::TEXT", &[&LOCK]).await?;
    if !is_there(connection, "ringleaf_format").await? {
        return Ok(0);
    }
    let rows = connection.query("SELECT format FROM ringleaf_format", &[]).await?;
    let row = rows.first().ok_or_else(|| StoreError::Unreadable { what: "no format is noted".into() })?;
    Ok(row.get(0))
}

async fn take_steps(connection: &mut Lent, found: i64) -> Result<(), StoreError> {
    if found == 0 {
        connection.batch("CREATE TABLE ringleaf_format (format INT8 PRIMARY KEY)").await?;
    }
    for step in MIGRATIONS.iter().skip(found as usize) {
        connection.batch(step).await?;
    }
    connection
        .batch(&format!("DELETE FROM ringleaf_format; INSERT INTO ringleaf_format VALUES ({FORMAT})"))
        .await?;
    tracing::info!(from = found, to = FORMAT, "store format migrated");
    Ok(())
}
