//! `ringleaf store copy`: from a folder into a database, and back.

use std::path::Path;
use std::sync::Arc;

use ringleaf_store::{
    Copied, CopyError, PostgresOptions, PostgresStore, SqliteOptions, SqliteStore, Store, copy,
};
use ringleaf_types::Limits;
use serde_json::json;

use crate::cli::StoreCommand;
use crate::exit::{Exit, Failure, chain};
use crate::output::{self, Table};
use crate::{cluster, config, progress, serve};

pub(super) fn run(command: StoreCommand) -> Result<(), Failure> {
    let StoreCommand::Copy { from, to, output } = command;
    if from == to {
        return Err(Failure::new(Exit::Usage, "usage", "both stores are the same"));
    }
    let runtime = serve::runtime()?;
    let copied = runtime.block_on(async {
        let source = open(&from, true).await?;
        let target = open(&to, false).await?;
        let copied = copy_with_progress(&*source, &*target).await;
        source.close().await;
        target.close().await;
        copied
    })?;
    let failed: Vec<_> = copied
        .failed
        .iter()
        .map(|(document, reason)| json!({ "document": document.as_str(), "reason": reason }))
        .collect();
    let answer = json!({
        "from": config::without_password(&from),
        "to": config::without_password(&to),
        "documents": copied.documents,
        "already_there": copied.already_there,
        "bytes": copied.bytes,
        "remainders": copied.remainders,
        "quarantined": copied.quarantined,
        "failed": failed,
    });
    output::answer(output.format, &answer, || text(&copied))?;
    if copied.failed.is_empty() { Ok(()) } else { Err(Failure::said(Exit::Failed)) }
}

async fn copy_with_progress(source: &dyn Store, target: &dyn Store) -> Result<Copied, Failure> {
    let bar = progress::counter("documents");
    let copied = copy(source, target, |copied| bar.set_position(copied.documents)).await;
    bar.finish_and_clear();
    copied.map_err(|error| {
        let which = match &error {
            CopyError::From(_) => "FROM",
            CopyError::To(_) => "TO",
        };
        Failure::new(Exit::Failed, "store", format!("{which}: {}", chain(&error)))
            .advise("what was copied stays; give the same command again to go on")
    })
}

/// A folder, or a database.
async fn open(place: &str, existing: bool) -> Result<Arc<dyn Store>, Failure> {
    let limits = Limits::default();
    if place.starts_with("postgres://") || place.starts_with("postgresql://") {
        let store = PostgresStore::open(place, PostgresOptions::from_limits(&limits)).await;
        return Ok(Arc::new(store.map_err(|error| cluster::store_in_words(&error))?));
    }
    if place.contains("://") {
        return Err(Failure::new(Exit::Usage, "usage", format!("{place} is no store"))
            .advise("give a folder, or postgres://USER@HOST/DATABASE"));
    }
    let (folder, options) = (Path::new(place), SqliteOptions::from_limits(&limits));
    let store = if existing {
        SqliteStore::open_existing(folder, options)
    } else {
        SqliteStore::open(folder, options)
    };
    Ok(Arc::new(store.map_err(|error| serve::store_in_words(&error))?))
}

fn text(copied: &Copied) -> String {
    let mut text = format!("{} documents are there ({})", copied.documents, output::size(copied.bytes));
    if copied.already_there > 0 {
        text.push_str(&format!(", {} of them were there before", copied.already_there));
    }
    if copied.remainders > 0 {
        text.push_str(&format!(", {} remainders of messages", copied.remainders));
    }
    if copied.quarantined > 0 {
        text.push_str(&format!(", {} in quarantine", copied.quarantined));
    }
    text.push('\n');
    if !copied.failed.is_empty() {
        let mut table = Table::new(&["NOT COPIED", "WHY"]);
        for (document, reason) in &copied.failed {
            table.row([document.as_str(), reason]);
        }
        text.push_str(&format!("\n{}", table.render(false)));
    }
    text
}
