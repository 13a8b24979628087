//! In which documents deleted content is forgotten.

use std::fmt;
use std::str::FromStr;

use crate::DocumentId;

/// Says by the name of a document whether deleted content is forgotten. The first rule whose pattern fits decides; where none
/// fits, it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcRules(Vec<GcRule>);

/// A pattern of names, and what holds for them: `drafts/*=false`. A `*` stands for any text, `/` included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcRule {
    pattern: String,
    collects: bool,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a rule is true, false, or a pattern of document names with either, such as drafts/*=false")]
pub struct GcRuleError;

impl GcRules {
    pub fn new(rules: Vec<GcRule>) -> Self {
        Self(rules)
    }

    pub fn as_slice(&self) -> &[GcRule] {
        &self.0
    }

    /// Whether deleted content of this document is forgotten.
    pub fn collects(&self, document: &DocumentId) -> bool {
        let rule = self.0.iter().find(|rule| fits(&rule.pattern, document.as_str()));
        rule.is_none_or(|rule| rule.collects)
    }
}

impl FromStr for GcRule {
    type Err = GcRuleError;

    fn from_str(text: &str) -> Result<Self, GcRuleError> {
        let (pattern, word) = text.rsplit_once('=').unwrap_or(("*", text));
        match word.trim() {
            "true" => Ok(Self { pattern: pattern.into(), collects: true }),
            "false" => Ok(Self { pattern: pattern.into(), collects: false }),
            _ => Err(GcRuleError),
        }
    }
}

impl fmt::Display for GcRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pattern, self.collects)
    }
}

/// Whether a name fits a pattern. What stands between the stars must be in the name, in this order.
fn fits(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[&str]) -> GcRules {
        GcRules::new(rules.iter().map(|rule| rule.parse().unwrap()).collect())
    }

    fn collects(of: &GcRules, name: &str) -> bool {
        of.collects(&name.parse().unwrap())
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = rules(&["notes/keep=true", "notes/*=false", "*.versions=false"]);
        for (name, expected) in [
            ("notes/keep", true),
            ("notes/a/b", false),
            ("notes", true),
            ("a.versions", false),
            ("a.versions2", true),
            ("other", true),
        ] {
            assert_eq!(collects(&rules, name), expected, "{name}");
        }
    }

    #[test]
    fn a_word_alone_is_about_every_document() {
        assert!(!collects(&rules(&["false"]), "a"));
        assert!(collects(&rules(&["true"]), "a"));
        assert!(collects(&GcRules::default(), "a"));
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "a/b/b/c", true),
            ("a*b*c", "ac", false),
            ("a*a", "a", false),
            ("a", "ab", false),
            ("*b", "ab", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_rule_is_told() {
        assert_eq!("notes/*".parse::<GcRule>(), Err(GcRuleError));
        assert_eq!("notes/*=no".parse::<GcRule>(), Err(GcRuleError));
        assert_eq!("a=b=false".parse::<GcRule>().unwrap().to_string(), "a=b=false");
    }
}
