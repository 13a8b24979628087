//! Looking at a document, for people. Values are what the CRDT library makes of them.

use serde_json::Value;
use yrs::types::ToJson;
use yrs::{Any, Array, GetString, Map, Out, ReadTxn, Transact, XmlFragment};

use crate::crdt::{Unreadable, guarded, read};

/// The whole document as JSON: one member per root type.
///
/// # Errors
///
/// The CRDT library cannot read the state.
pub fn json(state: &[u8]) -> Result<Value, Unreadable> {
    guarded(|| {
        let doc = read(state)?;
        let transaction = doc.transact();
        let members = transaction.root_refs().map(|(name, root)| {
            let unknown = matches!(root, Out::UndefinedRef(_));
            let value = if unknown { guess(&transaction, name) } else { root.to_json(&transaction) };
            Ok((name.to_owned(), serde_json::to_value(value)?))
        });
        let members: Result<serde_json::Map<String, Value>, serde_json::Error> = members.collect();
        let undecodable =
            |error: serde_json::Error| Unreadable::Undecodable { what: "a value", why: error.to_string() };
        members.map(Value::Object).map_err(undecodable)
    })
}

/// An update does not say of which kind a root type is; only the editors know. What is in it gives it away.
fn guess(transaction: &impl ReadTxn, name: &str) -> Any {
    let text = transaction.get_text(name).map(|text| text.get_string(transaction)).unwrap_or_default();
    if !text.is_empty() {
        return Any::from(text);
    }
    if let Some(fragment) = transaction.get_xml_fragment(name)
        && fragment.children(transaction).next().is_some()
    {
        return Any::from(fragment.get_string(transaction));
    }
    if let Some(map) = transaction.get_map(name).filter(|map| map.len(transaction) > 0) {
        return map.to_json(transaction);
    }
    match transaction.get_array(name).filter(|array| array.len(transaction) > 0) {
        Some(array) => array.to_json(transaction),
        None => Any::Null,
    }
}

/// The text of the first root type that has any.
///
/// # Errors
///
/// The CRDT library cannot read the state.
pub fn text(state: &[u8]) -> Result<String, Unreadable> {
    guarded(|| {
        let doc = read(state)?;
        let mut names: Vec<String> = doc.transact().root_refs().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        let texts = names.into_iter().map(|name| {
            let text = doc.get_or_insert_text(name.as_str());
            text.get_string(&doc.transact())
        });
        Ok(texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use yrs::types::text::TextPrelim;
    use yrs::types::xml::{XmlElementPrelim, XmlTextPrelim};
    use yrs::{Doc, StateVector, Text, WriteTxn};

    use super::*;

    /// A document with one root of each kind, as an editor would send it.
    fn state() -> Vec<u8> {
        let doc = Doc::new();
        let mut transaction = doc.transact_mut();
        transaction.get_or_insert_text("text").insert(&mut transaction, 0, "hello");
        let array = transaction.get_or_insert_array("array");
        array.push_back(&mut transaction, 1);
        array.push_back(&mut transaction, TextPrelim::new("inner"));
        transaction.get_or_insert_map("map").insert(&mut transaction, "key", "value");
        let fragment = transaction.get_or_insert_xml_fragment("xml");
        let paragraph = fragment.push_back(&mut transaction, XmlElementPrelim::empty("p"));
        paragraph.push_back(&mut transaction, XmlTextPrelim::new("words"));
        transaction.get_or_insert_text("emptied").insert(&mut transaction, 0, "x");
        transaction.get_or_insert_text("emptied").remove_range(&mut transaction, 0, 1);
        transaction.encode_state_as_update_v1(&StateVector::default())
    }

    #[test]
    fn root_types_are_shown_as_what_they_hold() {
        assert_eq!(
            json(&state()).unwrap(),
            json!({
                "text": "hello",
                "array": [1, "inner"],
                "map": { "key": "value" },
                "xml": "<p>words</p>",
                "emptied": null,
            })
        );
        assert_eq!(json(&[0, 0]).unwrap(), json!({}));
    }

    #[test]
    fn the_text_alone_is_that_of_the_first_root_that_has_any() {
        assert_eq!(text(&state()).unwrap(), "hello");
    }
}
