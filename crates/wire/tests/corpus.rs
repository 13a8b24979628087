//! The corpus of the fuzz targets, and changed copies of it, through every decoder: nothing panics, nothing is read
//! beyond its end, and what is accepted can be cut and read again.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

#[path = "../fuzz/checks.rs"]
mod checks;

const CHANGED_COPIES: usize = 100_000;

fn corpus() -> Vec<Vec<u8>> {
    let entries = |folder: &Path| {
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let folders = entries(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus")));
    let files = folders.iter().flat_map(|folder| entries(folder));
    files.map(|file| std::fs::read(file).unwrap()).collect()
}

#[test]
fn the_corpus_passes_through_every_decoder() {
    let corpus = corpus();
    assert!(corpus.len() > 80);
    for bytes in &corpus {
        checks::all(bytes);
        for length in 0..bytes.len().min(200) {
            checks::all(&bytes[..length]);
        }
    }
}

#[test]
fn so_do_changed_copies_of_it() {
    let corpus: Vec<_> = corpus().into_iter().filter(|bytes| !bytes.is_empty()).collect();
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..CHANGED_COPIES {
        let mut bytes = corpus.choose(&mut random).unwrap().clone();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..5) {
                0 => bytes[at] ^= 1 << random.random_range(0..8),
                1 => bytes[at] = random.random(),
                2 => bytes.insert(at, *[0, 1, 2, 10, 0x7f, 0x80, 0xff].choose(&mut random).unwrap()),
                3 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {
                    let other = corpus.choose(&mut random).unwrap();
                    bytes.truncate(at + 1);
                    bytes.extend_from_slice(&other[random.random_range(0..other.len())..]);
                }
            }
        }
        checks::all(&bytes);
    }
}
