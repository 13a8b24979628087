//! Latencies in buckets of about 3 %, so that millions of them cost a few kilobytes.

const BUCKETS_PER_OCTAVE: u64 = 32;

/// How often each latency occurred, in microseconds.
#[derive(Clone, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// Counts one latency.
    pub(crate) fn record(&mut self, micros: u64) {
        let bucket = bucket_of(micros);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// The latency in milliseconds that `share` of all did not exceed.
    pub(crate) fn quantile_ms(&self, share: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let wanted = (share * self.total as f64).ceil() as u64;
        let mut passed = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            passed += count;
            if passed >= wanted {
                return Some(upper_end(bucket as u64) as f64 / 1_000.0);
            }
        }
        None
    }
}

fn bucket_of(micros: u64) -> usize {
    let octave = micros.checked_ilog2().unwrap_or(0).saturating_sub(5);
    let bucket = u64::from(octave) * BUCKETS_PER_OCTAVE + (micros >> octave);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

fn upper_end(bucket: u64) -> u64 {
    if bucket < 2 * BUCKETS_PER_OCTAVE {
        return bucket;
    }
    let octave = bucket / BUCKETS_PER_OCTAVE - 1;
    ((bucket - octave * BUCKETS_PER_OCTAVE + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_four_percent_off() {
        for exact in [1_u64, 31, 32, 63, 64, 65, 1_000, 12_345, 7_000_000] {
            let mut histogram = Histogram::default();
            histogram.record(exact);
            let read = histogram.quantile_ms(0.5).unwrap() * 1_000.0;
            assert!(read >= exact as f64 && read <= exact as f64 * 1.04, "{exact} read as {read}");
        }
    }

    #[test]
    fn quantiles_follow_the_order_of_the_latencies() {
        let mut histogram = Histogram::default();
        (1..=1_000).for_each(|micros| histogram.record(micros));
        assert!((0.49..0.53).contains(&histogram.quantile_ms(0.5).unwrap()));
        assert!((0.98..1.03).contains(&histogram.quantile_ms(0.99).unwrap()));
    }
}
