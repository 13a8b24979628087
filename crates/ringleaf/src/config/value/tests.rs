//! What each kind of value takes, and what it says to everything else.

use super::*;

fn word(text: &str) -> Raw {
    Raw::Word(text.into())
}

#[test]
fn a_size_has_a_unit_and_is_shown_with_the_largest_that_fits() {
    for (text, bytes, shown) in [
        ("100MiB", 100 << 20, "\"100MiB\""),
        ("1536 KiB", 1536 << 10, "\"1536KiB\""),
        ("2gib", 2 << 30, "\"2GiB\""),
        ("1_000", 1000, "\"1000B\""),
    ] {
        let size: Option<usize> = Size::parse(&word(text));
        assert_eq!(size, Some(bytes), "{text}");
        assert_eq!(Size::show(&bytes), shown);
    }
    for text in ["", "MiB", "10MB", "-1", "0", "1.5MiB", "99999999999GiB"] {
        assert_eq!(<Size as Kind<usize>>::parse(&word(text)), None, "{text}");
    }
    assert_eq!(<Size as Kind<u32>>::parse(&word("4GiB")), None, "does not fit the field");
}

#[test]
fn a_time_has_a_unit_and_is_shown_with_the_largest_that_fits() {
    for (text, milliseconds, shown) in [
        ("30s", 30_000, "\"30s\""),
        ("90s", 90_000, "\"90s\""),
        ("600s", 600_000, "\"10m\""),
        ("4ms", 4, "\"4ms\""),
    ] {
        let time = Duration::from_millis(milliseconds);
        assert_eq!(Span::parse(&word(text)), Some(time), "{text}");
        assert_eq!(Span::show(&time), shown);
    }
    for text in ["", "s", "30", "30 parsecs", "-1s", "0s"] {
        assert_eq!(Span::parse(&word(text)), None, "{text}");
    }
    assert_eq!(Pause::parse(&word("0s")), Some(Duration::ZERO));
    assert_eq!(Span::parse(&Raw::Integer(30)), None, "a bare number does not say which unit");
}

#[test]
fn an_origin_is_a_scheme_and_a_host() {
    let parsed = Origins::parse(&word("https://App.example.com/, http://localhost:5173"));
    assert_eq!(parsed, Some(vec!["https://app.example.com".into(), "http://localhost:5173".into()]));
    for text in ["app.example.com", "https://a/b", "https://"] {
        assert_eq!(Origins::parse(&word(text)), None, "{text}");
    }
}

#[test]
fn a_name_is_made_of_labels_and_the_first_may_be_a_star() {
    let parsed = Names::parse(&word("N1.internal, *.nodes.internal, r1"));
    assert_eq!(parsed, Some(vec!["n1.internal".into(), "*.nodes.internal".into(), "r1".into()]));
    for text in ["*", "a.*.internal", "n*.internal", "a..b", "10.0.0.1", "n1.internal:1236", "https://n1"] {
        assert_eq!(Names::parse(&word(text)), None, "{text}");
    }
}

#[test]
fn addresses_of_etcd_are_urls_and_may_be_several() {
    let two = Some(vec!["http://a:2379".to_owned(), "https://b:2379".to_owned()]);
    assert_eq!(Endpoints::parse(&word("http://a:2379, https://b:2379")), two);
    assert_eq!(Endpoints::parse(&Raw::Words(vec!["http://a:2379".into(), "https://b:2379".into()])), two);
    assert_eq!(Endpoints::parse(&word("a:2379")), None);
}

#[test]
fn a_password_is_not_shown() {
    for (address, shown) in [
        ("postgres://me:se@cret@host:5432/db?a=b@c", "postgres://me:***@host:5432/db?a=b@c"),
        ("postgres://me@host/db", "postgres://me@host/db"),
        ("postgres://host/db", "postgres://host/db"),
    ] {
        assert_eq!(without_password(address), shown);
    }
}

#[test]
fn the_file_is_held_to_its_types() {
    assert_eq!(Flag::parse(&Raw::Text("true".into())), None);
    assert_eq!(<Count as Kind<u32>>::parse(&Raw::Text("5".into())), None);
    assert_eq!(<Count as Kind<u32>>::parse(&Raw::Integer(-5)), None);
    assert_eq!(<Count as Kind<u32>>::parse(&Raw::Integer(5)), Some(5));
    assert_eq!(<Count as Kind<u32>>::parse(&word("5")), Some(5));
}

#[test]
fn a_word_alone_is_a_level() {
    for text in ["warn", "WARN", "off", "info,ringleaf_node=debug", "ringleaf_node=trace", "hyper=off,debug"]
    {
        assert_eq!(Filter::parse(&word(text)).as_deref(), Some(text));
    }
    assert_eq!(Filter::parse(&word("info, hyper=off")).as_deref(), Some("info,hyper=off"));
    for (text, meant) in [
        ("warning", Some("warn")),
        ("debgu", Some("debug")),
        ("err", Some("error")),
        ("Information", Some("info")),
        ("info,ringleaf_node=tarce", Some("trace")),
        ("info,wran", Some("warn")),
        ("hyper", None),
        ("", None),
        ("info,", None),
    ] {
        assert_eq!(Filter::parse(&word(text)), None, "{text}");
        assert_eq!(Filter::nearest(&word(text)).as_deref(), meant, "{text}");
    }
}

#[test]
fn an_address_may_be_written_as_the_tools_write_it() {
    let address: SocketAddr = "127.0.0.1:1235".parse().unwrap();
    for text in ["127.0.0.1:1235", "http://127.0.0.1:1235", "http://127.0.0.1:1235/", "localhost:1235"] {
        assert_eq!(Address::parse(&word(text)), Some(address), "{text}");
    }
    assert_eq!(Address::parse(&word("1235")), None);
}
