//! What the operators of a cluster decide once for all its members.

use std::time::Duration;

use ringleaf_ring::{VIRTUAL_NODES_PER_WEIGHT, VirtualNodes};
use serde::Deserialize;

/// Limit: the commented default has 1.5 KB.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A checked `ring-config` file. All processes of a cluster use the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingConfig {
    pub cluster: String,
    /// Points on the ring for each unit of a member's weight.
    pub virtual_nodes: VirtualNodes,
    pub lease: Duration,
    pub renew: Duration,
    /// Documents that one node hands over at a time.
    pub out_max: usize,
    /// Documents that one node begins to hand over in a second, at most.
    pub out_per_second_max: u32,
    /// Documents that one node takes over at a time.
    pub in_max: usize,
    /// How long the ring must stay as it is before documents move because of it.
    pub debounce: Duration,
}

/// Why a text is no ring configuration.
#[derive(Debug, thiserror::Error)]
pub enum RingConfigError {
    #[error("it is not as ring-config/default.toml: {0}")]
    Syntax(#[from] toml::de::Error),
    #[error("it has more than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    #[error("{key} must be {expected}")]
    Value { key: &'static str, expected: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Text {
    cluster: String,
    virtual_nodes_per_weight: u32,
    lease: Lease,
    pacing: Pacing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Lease {
    seconds: u64,
    renew_milliseconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pacing {
    out_max: usize,
    out_per_second_max: u32,
    in_max: usize,
    debounce_milliseconds: u64,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            cluster: "ringleaf".into(),
            virtual_nodes_per_weight: VIRTUAL_NODES_PER_WEIGHT,
            lease: Lease::default(),
            pacing: Pacing::default(),
        }
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self { seconds: 10, renew_milliseconds: 2_500 }
    }
}

impl Default for Pacing {
    fn default() -> Self {
        Self { out_max: 8, out_per_second_max: 100, in_max: 16, debounce_milliseconds: 500 }
    }
}

impl Default for RingConfig {
    fn default() -> Self {
        Self::parse("").expect("the default is checked by a test")
    }
}

fn check(holds: bool, key: &'static str, expected: impl Into<String>) -> Result<(), RingConfigError> {
    if holds { Ok(()) } else { Err(RingConfigError::Value { key, expected: expected.into() }) }
}

impl RingConfig {
    /// Reads and checks TOML text.
    pub fn parse(text: &str) -> Result<Self, RingConfigError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(RingConfigError::TooLong);
        }
        let Text { cluster, virtual_nodes_per_weight, lease, pacing } = toml::from_str(text)?;
        check(cluster_name(&cluster), "cluster", "1 to 64 letters, digits, dots, dashes or underscores")?;
        let virtual_nodes = VirtualNodes::new(virtual_nodes_per_weight);
        let expected = format!("from 1 to {}", VirtualNodes::MAX);
        check(virtual_nodes.is_ok(), "virtual_nodes_per_weight", expected)?;
        check((2..=300).contains(&lease.seconds), "lease.seconds", "from 2 to 300")?;
        let renew_max = lease.seconds * 1_000 / 3;
        check(
            (100..=renew_max).contains(&lease.renew_milliseconds),
            "lease.renew_milliseconds",
            format!("from 100 to a third of the lease, that is {renew_max}"),
        )?;
        check((1..=1_000).contains(&pacing.out_max), "pacing.out_max", "from 1 to 1000")?;
        let per_second = pacing.out_per_second_max;
        check((1..=10_000).contains(&per_second), "pacing.out_per_second_max", "from 1 to 10000")?;
        check((1..=1_000).contains(&pacing.in_max), "pacing.in_max", "from 1 to 1000")?;
        let debounce = pacing.debounce_milliseconds;
        check(debounce <= 60_000, "pacing.debounce_milliseconds", "from 0 to 60000")?;
        Ok(Self {
            cluster,
            virtual_nodes: virtual_nodes.unwrap_or_default(),
            lease: Duration::from_secs(lease.seconds),
            renew: Duration::from_millis(lease.renew_milliseconds),
            out_max: pacing.out_max,
            out_per_second_max: per_second,
            in_max: pacing.in_max,
            debounce: Duration::from_millis(debounce),
        })
    }

    /// What a text in etcd means for the ring. All processes must read the same from the same text, whatever else a
    /// newer version writes there: so only this key counts, and what cannot be used is as good as nothing.
    pub(crate) fn virtual_nodes_in(text: &[u8]) -> Option<VirtualNodes> {
        #[derive(Deserialize)]
        struct Ring {
            virtual_nodes_per_weight: u32,
        }
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= TEXT_BYTES_MAX)?;
        let ring: Ring = toml::from_str(text).ok()?;
        VirtualNodes::new(ring.virtual_nodes_per_weight).ok()
    }
}

fn cluster_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=64).contains(&name.len()) && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_default_is_the_default() {
        let text = include_str!("../../../ring-config/default.toml");
        assert_eq!(RingConfig::parse(text).unwrap(), RingConfig::default());
        let keys = [
            "cluster",
            "virtual_nodes_per_weight",
            "seconds",
            "renew_milliseconds",
            "out_max",
            "out_per_second_max",
            "in_max",
            "debounce_milliseconds",
        ];
        assert!(keys.iter().all(|key| text.contains(&format!("\n{key} = "))), "it names every key");
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = |text: &str| RingConfig::parse(text).unwrap_err().to_string();
        assert!(refused("cluster = 'a/b'").starts_with("cluster must be"));
        assert!(
            refused("virtual_nodes_per_weight = 0").starts_with("virtual_nodes_per_weight must be from 1")
        );
        assert!(
            refused("virtual_nodes_per_weight = 1025").starts_with("virtual_nodes_per_weight must be from 1")
        );
        assert!(refused("[lease]\nseconds = 1").starts_with("lease.seconds"));
        assert!(refused("[lease]\nseconds = 6").starts_with("lease.renew_milliseconds"), "2.5 s is too slow");
        assert!(refused("[pacing]\nin_max = 0").starts_with("pacing.in_max"));
        let per_second = refused("[pacing]\nout_per_second_max = 0");
        assert!(per_second.starts_with("pacing.out_per_second_max"), "{per_second}");
        let debounce = refused("[pacing]\ndebounce_milliseconds = 60001");
        assert!(debounce.starts_with("pacing.debounce_milliseconds"), "{debounce}");
        assert!(refused("leese = 1").contains("leese"));
        assert!(matches!(RingConfig::parse(&" ".repeat(TEXT_BYTES_MAX + 1)), Err(RingConfigError::TooLong)));
    }

    #[test]
    fn the_virtual_nodes_of_a_newer_configuration_are_read_all_the_same() {
        let of = |text: &str| RingConfig::virtual_nodes_in(text.as_bytes()).map(VirtualNodes::get);
        assert_eq!(RingConfig::parse("virtual_nodes_per_weight = 1024").unwrap().virtual_nodes.get(), 1_024);
        assert_eq!(of("virtual_nodes_per_weight = 64\n[something]\nnew = true"), Some(64));
        assert_eq!(of("cluster = 'a'"), None);
        assert_eq!(of("virtual_nodes_per_weight = 0"), None);
        assert_eq!(of("no configuration at all"), None);
    }
}
