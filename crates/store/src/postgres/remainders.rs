//! Remainders, in a table of their own. Rare next to appends, each a statement of its own, which no slot waits for.

use ringleaf_types::{DocumentId, Remainder};
use tokio_postgres::Row;

use super::connections::Connections;
use super::queries::{bytes_of, name};
use crate::{StoreError, encoding};

pub(super) async fn keep(
    connections: &Connections,
    document: &DocumentId,
    remainder: &Remainder,
) -> Result<(), StoreError> {
    let record = encoding::encode_remainder(document, remainder);
    let sql = "
        INSERT INTO ringleaf_remainders (document, id, record) VALUES ($1, $2, $3)
        ON CONFLICT (document, id) DO NOTHING";
    let id = remainder.id.cast_signed();
    connections.get().await?.query(sql, &[&bytes_of(document), &id, &record]).await.map(drop)
}

pub(super) async fn drop_all(
    connections: &Connections,
    document: &DocumentId,
    ids: &[u64],
) -> Result<(), StoreError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.cast_signed()).collect();
    let sql = "DELETE FROM ringleaf_remainders WHERE document = $1 AND id = ANY ($2)";
    connections.get().await?.query(sql, &[&bytes_of(document), &ids]).await.map(drop)
}

/// Those of one document that can be read.
pub(super) async fn read(
    connections: &Connections,
    document: &DocumentId,
) -> Result<Vec<Remainder>, StoreError> {
    let sql = "SELECT id, record FROM ringleaf_remainders WHERE document = $1";
    let rows = connections.get().await?.query(sql, &[&bytes_of(document)]).await;
    let content = |row: &Row| (row.get::<_, i64>(0).cast_unsigned(), row.get(1));
    encoding::readable_remainders(document, rows.map(|rows| rows.iter().map(content).collect()))
}

/// A page of the documents that have some.
pub(super) async fn documents(
    connections: &Connections,
    after: Option<&DocumentId>,
    limit: usize,
) -> Result<Vec<DocumentId>, StoreError> {
    let after = after.map_or(&[][..], bytes_of);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql =
        "SELECT DISTINCT document FROM ringleaf_remainders WHERE document > $1 ORDER BY document LIMIT $2";
    let rows = connections.get().await?.query(sql, &[&after, &limit]).await?;
    rows.iter().map(name).collect()
}
