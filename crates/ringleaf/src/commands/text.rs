//! How the values of an answer are written for people.

use serde_json::Value;

pub(super) fn array<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A value as text; nothing for what is not there.
pub(super) fn cell(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        other => other.to_string(),
    }
}

/// `1,234,567`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `33.3 %`, of a number from 0 to 1; small parts with more digits. Nothing for what is not there.
pub(super) fn percent(value: &Value) -> String {
    let Some(part) = value.as_f64().map(|part| part * 100.0) else { return String::new() };
    match part {
        0.0 => "0 %".into(),
        ..1.0 => format!("{part:.3} %"),
        _ => format!("{part:.1} %"),
    }
}

/// `1.07`
pub(super) fn times(value: &Value) -> String {
    value.as_f64().map(|times| format!("{times:.2}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(
            [0, 999, 1_000, 123_456, 1_234_567].map(count),
            ["0", "999", "1,000", "123,456", "1,234,567"]
        );
        assert_eq!(
            [0.0, 0.001, 0.25, 1.0].map(|part| percent(&json!(part))),
            ["0 %", "0.100 %", "25.0 %", "100.0 %"]
        );
        assert_eq!(
            (percent(&Value::Null), times(&Value::Null), times(&json!(1.066))),
            (String::new(), String::new(), "1.07".into())
        );
    }
}
