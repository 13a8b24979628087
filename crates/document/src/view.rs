//! Looking at a document, for people.

use bytes::Bytes;
use serde_json::Value;
use yrs::types::ToJson;
use yrs::{GetString, ReadTxn, Transact};

use crate::replica::{Broken, Replica, guarded};

/// The whole document as JSON: one member per root type.
///
/// # Errors
///
/// The state does not decode.
pub fn json(state: &[u8]) -> Result<Value, Broken> {
    let replica = Replica::build(std::iter::once(&Bytes::copy_from_slice(state)))?;
    guarded("view", || {
        let text = replica.doc().to_json(&replica.doc().transact()).to_string();
        serde_json::from_str(&text).map_err(|error| Broken::Undecodable { why: error.to_string() })
    })
}

/// The text of the first root type that has any.
///
/// # Errors
///
/// The state does not decode.
pub fn text(state: &[u8]) -> Result<String, Broken> {
    let replica = Replica::build(std::iter::once(&Bytes::copy_from_slice(state)))?;
    guarded("view", || {
        let mut names: Vec<String> =
            replica.doc().transact().root_refs().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        let texts = names.into_iter().map(|name| {
            let text = replica.doc().get_or_insert_text(name.as_str());
            text.get_string(&replica.doc().transact())
        });
        Ok(texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default())
    })
}
