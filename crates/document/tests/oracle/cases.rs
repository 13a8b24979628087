//! What the library is fed: everything is scanned and judged first, as the server does it.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use ringleaf_document::{Seen, Verdict};
use ringleaf_wire::lib0::{Reader, write_var_bytes, write_var_string, write_var_uint};

/// The parts of these updates, one after the other, that a document would admit.
pub(crate) fn admit(updates: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut seen = Seen::new();
    let mut admitted = Vec::new();
    for update in updates {
        let parts = match seen.judge(update) {
            Ok(Verdict::Complete) => vec![update.clone()],
            Ok(Verdict::Partial { complete, .. }) => complete.iter().map(|bytes| bytes.to_vec()).collect(),
            Ok(Verdict::NothingNew) | Err(_) => vec![],
        };
        for part in parts {
            seen.take_in(&part).unwrap();
            admitted.push(part);
        }
    }
    admitted
}

/// Updates to begin with: the corpus of the fuzz targets.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../wire/fuzz/corpus/update");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Sequences of updates, each behind its length: the corpus of the judge's fuzz target.
pub(crate) fn sequences() -> Vec<(String, Vec<Vec<u8>>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../wire/fuzz/corpus/judge");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let sequence = |file: &std::path::PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        let mut reader = Reader::new(&bytes);
        let updates = std::iter::from_fn(|| reader.var_bytes().ok().map(<[u8]>::to_vec)).collect();
        (file.display().to_string(), updates)
    };
    files.iter().map(sequence).collect()
}

/// A few random updates for one document: changed seeds, or structs made up.
pub(crate) fn random(random: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let count = random.random_range(1..5);
    (0..count)
        .map(|_| match random.random_range(0..3) {
            0 => made_up(random),
            1 => seeds.choose(random).unwrap().clone(),
            _ => mutated(random, seeds),
        })
        .collect()
}

fn mutated(random: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds.choose(random).unwrap().clone();
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..5) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = *[0, 1, 2, 4, 7, 8, 10, 0x7f, 0x80, 0x84, 0xc4, 0xff].choose(random).unwrap(),
            2 => bytes.insert(at, random.random_range(0..8)),
            3 => drop(bytes.remove(at)),
            _ => {
                let other = seeds.choose(random).unwrap();
                let from = random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

/// Random structs of a few clients with small clocks, so that what they refer to often exists.
fn made_up(random: &mut StdRng) -> Vec<u8> {
    let mut out = Vec::new();
    let mut clients: Vec<u64> = (1..=4).filter(|_| random.random_bool(0.5)).collect();
    clients.reverse();
    write_var_uint(&mut out, clients.len() as u64);
    for &client in &clients {
        let count = random.random_range(1..6);
        for number in [count, client, random.random_range(0..4)] {
            write_var_uint(&mut out, number);
        }
        for _ in 0..count {
            write_made_up(random, &mut out);
        }
    }
    let ranges = random.random_range(0..4);
    write_var_uint(&mut out, u64::from(ranges > 0));
    if ranges > 0 {
        write_var_uint(&mut out, random.random_range(1..5));
        write_var_uint(&mut out, ranges);
        for _ in 0..ranges {
            write_var_uint(&mut out, random.random_range(0..10));
            write_var_uint(&mut out, random.random_range(0..4));
        }
    }
    out
}

fn write_made_up(random: &mut StdRng, out: &mut Vec<u8>) {
    if random.random_bool(0.1) {
        out.extend([*[0, 10].choose(random).unwrap(), random.random_range(1..4)]);
        return;
    }
    let content = *[1_u8, 3, 4, 4, 4, 5, 6, 7, 7, 7, 8, 8, 9].choose(random).unwrap();
    let origins = *[0_u8, 0, 0, 0x80, 0x80, 0x80, 0x40, 0xc0].choose(random).unwrap();
    let sub = if random.random_bool(0.3) { 0x20 } else { 0 };
    out.push(content | origins | sub);
    let mut ids = (origins & 0xc0).count_ones();
    if origins == 0 {
        if random.random_bool(0.5) {
            out.push(1);
            write_var_string(out, random.random_range(0..2_u8).to_string().as_str());
        } else {
            out.push(0);
            ids = 1;
        }
    }
    for _ in 0..ids {
        write_var_uint(out, random.random_range(1..5));
        write_var_uint(out, random.random_range(0..10));
    }
    if origins == 0 && sub != 0 {
        write_var_string(out, "key");
    }
    match content {
        1 => out.push(random.random_range(1..4)),
        3 => write_var_bytes(out, &[1, 2, 3]),
        4 => write_var_string(out, ["a", "bc", "😀é", ""].choose(random).unwrap()),
        5 => write_var_string(out, r#"{"image":[1,null]}"#),
        6 => {
            write_var_string(out, "bold");
            write_var_string(out, ["true", "null"].choose(random).unwrap());
        }
        7 => match random.random_range(0..7) {
            3 | 5 => {
                out.push(3);
                write_var_string(out, "p");
            }
            type_ref => out.push(type_ref),
        },
        8 => {
            out.push(2);
            out.extend([0x7d, 0x05, 0x76, 1, 1, b'k', 0x75, 1, 0x7e]);
        }
        _ => {
            write_var_string(out, "guid");
            out.extend([0x76, 0]);
        }
    }
}

/// The hostile inputs that are known, and honest ones of the same shape just below the limits.
pub(crate) fn crafted() -> Vec<(String, Vec<Vec<u8>>)> {
    let mut cases = Vec::new();
    let mut add = |name: &str, updates: Vec<Vec<u8>>| cases.push((name.to_owned(), updates));
    for depth in [512, 513, 20_000, 1_000_000] {
        add(&format!("any nested {depth} deep"), vec![nested_any(depth)]);
    }
    for count in [20_000, 20_001, 50_000] {
        add(&format!("{count} clients with a struct each"), vec![many_clients(count, |_| None)]);
        let previous = |client: u64| (client > 1).then(|| client - 1);
        add(&format!("a chain of {count} clients"), vec![many_clients(count, previous)]);
        add(
            &format!("a chain of {count} clients, last first"),
            vec![many_clients(count, |client| (client < count).then_some(client + 1))],
        );
        add(
            &format!("{count} clients after one other"),
            vec![many_clients(count, |client| (client < count).then_some(count))],
        );
    }
    for depth in [511, 513, 10_000] {
        add(
            &format!("shared types nested {depth} deep, and the root deleted"),
            vec![nested_types(0, depth, true)],
        );
        let stepwise = (0..depth).map(|from| nested_types(from, from + 1, false));
        let deletion = vec![0, 1, 1, 1, 0, 1];
        add(
            &format!("shared types nested {depth} deep one by one, and the root deleted"),
            stepwise.chain([deletion]).collect(),
        );
    }
    // Joined in one go, these would take gigabytes.
    add("many small values", vec![many_structs(100_000, &[0x7e], 8)]);
    add("many single characters", vec![many_structs(100_000, &[1, b'x'], 4)]);
    let long = [&[0x80, 0x20][..], &[b'x'; 4_096]].concat();
    add("many long strings", vec![many_structs(500, &long, 4)]);
    add("many shared types", vec![many_structs(50_000, &[1], 7)]);
    add("many subdocuments", vec![many_structs(20_000, &[0, 0x76, 0], 9)]);
    add("many deletions", vec![many_deletions(100_000)]);
    let mut anys = vec![1, 1, 1, 0, 8, 1, 1, b't'];
    write_var_uint(&mut anys, 1_000_000);
    anys.extend(std::iter::repeat_n(0x7e, 1_000_000));
    anys.push(0);
    add("a million nulls in one struct", vec![anys]);
    let mut objects = vec![1, 1, 1, 0, 8, 1, 1, b't'];
    write_var_uint(&mut objects, 100_000);
    for _ in 0..100_000 {
        objects.extend([0x76, 1, 0, 0x7e]);
    }
    objects.push(0);
    add("many small objects", vec![objects]);
    cases
}

fn nested_any(depth: usize) -> Vec<u8> {
    let mut out = vec![1, 1, 1, 0, 8, 1, 1, b't', 1];
    out.extend([0x75, 1].repeat(depth - 1));
    out.extend([0x75, 0, 0]);
    out
}

/// Each client inserts one character, with one of another client on its left.
fn many_clients(count: u64, left: impl Fn(u64) -> Option<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    write_var_uint(&mut out, count);
    for client in (1..=count).rev() {
        write_var_uint(&mut out, 1);
        write_var_uint(&mut out, client);
        out.push(0);
        match left(client) {
            Some(left) => {
                out.push(0x84);
                write_var_uint(&mut out, left);
                out.push(0);
            }
            None => out.extend([4, 1, 1, b't']),
        }
        out.extend([1, b'x']);
    }
    out.push(0);
    out
}

/// Arrays within each other, from one depth to another.
fn nested_types(from: u32, to: u32, delete_root: bool) -> Vec<u8> {
    let mut out = vec![1];
    write_var_uint(&mut out, u64::from(to - from));
    out.push(1);
    write_var_uint(&mut out, u64::from(from));
    for depth in from..to {
        match depth {
            0 => out.extend([7, 1, 1, b't', 0]),
            _ => {
                out.extend([7, 0, 1]);
                write_var_uint(&mut out, u64::from(depth - 1));
                out.push(0);
            }
        }
    }
    out.extend(if delete_root { &[1, 1, 1, 0, 1][..] } else { &[0] });
    out
}

/// One client appends many structs with this content.
fn many_structs(count: u32, content: &[u8], kind: u8) -> Vec<u8> {
    let mut out = vec![1];
    write_var_uint(&mut out, u64::from(count));
    out.extend([1, 0]);
    for clock in 0..count {
        match clock {
            0 => out.extend([kind, 1, 1, b't']),
            _ => {
                out.extend([0x80 | kind, 1]);
                write_var_uint(&mut out, u64::from(clock - 1));
            }
        }
        if kind == 8 {
            out.push(1);
        }
        out.extend(content);
    }
    out.push(0);
    out
}

/// A long text, of which every second character is deleted.
fn many_deletions(count: u32) -> Vec<u8> {
    let mut out = vec![1, 1, 1, 0, 4, 1, 1, b't'];
    write_var_string(&mut out, &"x".repeat(count as usize * 2));
    out.extend([1, 1]);
    write_var_uint(&mut out, u64::from(count));
    for range in 0..count {
        write_var_uint(&mut out, u64::from(range * 2));
        out.push(1);
    }
    out
}
