//! A document of yrs, as a reader and as an editor.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use yrs::types::Attrs;
use yrs::types::text::YChange;
use yrs::updates::decoder::Decode;
use yrs::{
    Any, Array, ArrayPrelim, ArrayRef, Doc, Map, MapPrelim, MapRef, OffsetKind, Options, Out, ReadTxn,
    StateVector, Text, TextRef, Transact, TransactionMut, Update, Xml, XmlElementPrelim, XmlFragment,
    XmlFragmentRef, XmlOut, XmlTextPrelim,
};

/// A document that is broken as soon as yrs panics or refuses something.
pub(crate) struct Replica {
    doc: Doc,
    broken: Option<String>,
}

impl Replica {
    pub(crate) fn new(client: u64) -> Self {
        let options = Options {
            offset_kind: OffsetKind::Utf16,
            skip_gc: false,
            cleanup_formatting: false,
            ..Options::with_guid_and_client_id("document".into(), yrs::ClientID::new(client))
        };
        let doc = Doc::with_options(options);
        roots(&doc);
        Self { doc, broken: None }
    }

    fn guarded<T>(&mut self, work: impl FnOnce(&Doc) -> Result<T, String>) -> Option<T> {
        if self.broken.is_some() {
            return None;
        }
        match catch_unwind(AssertUnwindSafe(|| work(&self.doc))) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(why)) => self.broken = Some(why),
            Err(_) => self.broken = Some("panicked".into()),
        }
        None
    }

    pub(crate) fn apply(&mut self, update: &[u8]) {
        self.guarded(|doc| {
            let update = Update::decode_v1(update).map_err(|error| error.to_string())?;
            doc.transact_mut().apply_update(update).map_err(|error| error.to_string())
        });
    }

    pub(crate) fn state(&mut self) -> Vec<u8> {
        let encode = |doc: &Doc| Ok(doc.transact().encode_state_as_update_v1(&StateVector::default()));
        self.guarded(encode).unwrap_or_else(|| vec![0, 0])
    }

    /// What it says, or that it is broken: a reference that is broken by the editors' own updates is equal to that.
    pub(crate) fn view(&mut self) -> String {
        let seen = self.guarded(|doc| {
            // Order: asking for a root waits until no transaction is open.
            let roots = roots(doc);
            let transaction = doc.transact();
            if transaction.has_missing_updates() {
                return Ok("something is missing".into());
            }
            let clocks = transaction.state_vector();
            let clocks: BTreeMap<_, _> =
                clocks.iter().map(|(client, clock)| (client.get(), *clock)).collect();
            let mut view = format!("clocks {clocks:?}");
            for (name, root) in [
                ("text", Out::YText(roots.0)),
                ("map", Out::YMap(roots.1)),
                ("array", Out::YArray(roots.2)),
                ("xml", Out::YXmlFragment(roots.3)),
            ] {
                write!(view, "\n{name} ").expect("a string takes it");
                show(&root, &transaction, &mut view);
            }
            Ok(view)
        });
        seen.unwrap_or_else(|| format!("broken: {}", self.broken.as_deref().unwrap_or_default()))
    }

    /// Changes something, and returns the update that says so.
    pub(crate) fn edit(&mut self, dice: u32) -> Vec<u8> {
        let edited = self.guarded(|doc| {
            let roots = roots(doc);
            let mut transaction = doc.transact_mut();
            let at = dice >> 8;
            let key = ["a", "b", "c"][(at % 3) as usize];
            match dice % 12 {
                0..=2 => insert_text(&roots.0, &mut transaction, at),
                3 => remove_text(&roots.0, &mut transaction, at),
                4 => _ = roots.1.insert(&mut transaction, key, f64::from(at)),
                5 => _ = roots.1.insert(&mut transaction, key, MapPrelim::from([("n", at)])),
                6 => _ = roots.1.remove(&mut transaction, key),
                7 => {
                    let place = at % (roots.2.len(&transaction) + 1);
                    roots.2.insert_range(&mut transaction, place, [at, at + 1]);
                }
                8 => {
                    roots.2.push_back(&mut transaction, ArrayPrelim::from([at]));
                }
                9 if roots.2.len(&transaction) > 0 => {
                    let place = at % roots.2.len(&transaction);
                    roots.2.remove(&mut transaction, place);
                }
                10 => {
                    let place = at % (roots.3.len(&transaction) + 1);
                    let element = roots.3.insert(&mut transaction, place, XmlElementPrelim::empty("p"));
                    element.insert(&mut transaction, 0, XmlTextPrelim::new("yrs"));
                    element.insert_attribute(&mut transaction, "a", at.to_string());
                }
                _ if roots.3.len(&transaction) > 1 => roots.3.remove_range(&mut transaction, 0, 1),
                _ => insert_text(&roots.0, &mut transaction, at),
            }
            Ok(transaction.encode_update_v1())
        });
        edited.unwrap_or_else(|| vec![0, 0])
    }
}

fn roots(doc: &Doc) -> (TextRef, MapRef, ArrayRef, XmlFragmentRef) {
    (
        doc.get_or_insert_text("text"),
        doc.get_or_insert_map("map"),
        doc.get_or_insert_array("array"),
        doc.get_or_insert_xml_fragment("xml"),
    )
}

/// The units of a text. What is not text counts as one.
fn units(text: &TextRef, transaction: &impl ReadTxn) -> Vec<u16> {
    let mut units = Vec::new();
    for part in text.diff(transaction, YChange::identity) {
        match part.insert {
            Out::Any(Any::String(part)) => units.extend(part.encode_utf16()),
            _ => units.push(1),
        }
    }
    units
}

/// A place that is not within a surrogate pair.
fn place(units: &[u16], at: u32) -> u32 {
    let at = at as usize % (units.len() + 1);
    let within = units.get(at).is_some_and(|unit| (0xdc00..0xe000).contains(unit));
    (if within { at - 1 } else { at }) as u32
}

fn insert_text(text: &TextRef, transaction: &mut TransactionMut<'_>, at: u32) {
    let place = place(&units(text, transaction), at);
    if at.is_multiple_of(5) {
        let bold = Attrs::from([("bold".into(), true.into())]);
        text.insert_with_attributes(transaction, place, "yrs😀", bold);
    } else {
        text.insert(transaction, place, "yrs");
    }
}

fn remove_text(text: &TextRef, transaction: &mut TransactionMut<'_>, at: u32) {
    let units = units(text, transaction);
    let (from, to) = (place(&units, at), place(&units, at + 3));
    if from < to {
        text.remove_range(transaction, from, to - from);
    }
}

fn show(out: &Out, transaction: &impl ReadTxn, view: &mut String) {
    match out {
        Out::Any(any) => show_any(any, view),
        Out::YText(text) => show_text(text.diff(transaction, YChange::identity), transaction, view),
        Out::YXmlText(text) => {
            show_attributes(text.attributes(transaction), transaction, view);
            show_text(text.diff(transaction, YChange::identity), transaction, view);
        }
        Out::YArray(array) => {
            view.push('[');
            array.iter(transaction).for_each(|member| show_member(&member, transaction, view));
            view.push(']');
        }
        Out::YMap(map) => {
            let members: BTreeMap<_, _> = map.iter(transaction).collect();
            for (key, value) in &members {
                write!(view, "{key:?}: ").expect("a string takes it");
                show_member(value, transaction, view);
            }
        }
        Out::YXmlElement(element) => {
            write!(view, "<{} ", element.tag()).expect("a string takes it");
            show_attributes(element.attributes(transaction), transaction, view);
            element.children(transaction).for_each(|child| show_xml(child, transaction, view));
            view.push('>');
        }
        Out::YXmlFragment(fragment) => {
            fragment.children(transaction).for_each(|child| show_xml(child, transaction, view));
        }
        Out::YDoc(doc) => write!(view, "doc {}", doc.guid()).expect("a string takes it"),
        Out::UndefinedRef(_) => view.push_str("undefined type"),
    }
}

fn show_member(out: &Out, transaction: &impl ReadTxn, view: &mut String) {
    show(out, transaction, view);
    view.push(',');
}

fn show_xml(child: XmlOut, transaction: &impl ReadTxn, view: &mut String) {
    let child = match child {
        XmlOut::Element(element) => Out::YXmlElement(element),
        XmlOut::Fragment(fragment) => Out::YXmlFragment(fragment),
        XmlOut::Text(text) => Out::YXmlText(text),
    };
    show(&child, transaction, view);
}

fn show_attributes<'a>(
    attributes: impl Iterator<Item = (&'a str, Out)>,
    transaction: &impl ReadTxn,
    view: &mut String,
) {
    for (key, value) in attributes.collect::<BTreeMap<_, _>>() {
        write!(view, "{key:?}=").expect("a string takes it");
        show_member(&value, transaction, view);
    }
}

fn show_text(parts: Vec<yrs::types::text::Diff<YChange>>, transaction: &impl ReadTxn, view: &mut String) {
    for part in parts {
        show(&part.insert, transaction, view);
        let attributes = part.attributes.map(|attributes| *attributes).unwrap_or_default();
        for (key, value) in attributes.into_iter().collect::<BTreeMap<_, _>>() {
            write!(view, " {key:?}=").expect("a string takes it");
            show_any(&value, view);
        }
        view.push(';');
    }
}

/// Members in order: yrs has none.
fn show_any(any: &Any, view: &mut String) {
    match any {
        Any::Array(members) => {
            view.push('[');
            for member in members.iter() {
                show_any(member, view);
                view.push(',');
            }
            view.push(']');
        }
        Any::Map(members) => {
            view.push('{');
            for (key, value) in members.iter().collect::<BTreeMap<_, _>>() {
                write!(view, "{key:?}:").expect("a string takes it");
                show_any(value, view);
                view.push(',');
            }
            view.push('}');
        }
        // A whole number is the same in either encoding.
        Any::Number(number) => write!(view, "{number}").expect("a string takes it"),
        Any::Null | Any::Undefined | Any::Bool(_) | Any::String(_) | Any::Buffer(_) => {
            write!(view, "{any:?}").expect("a string takes it");
        }
    }
}
