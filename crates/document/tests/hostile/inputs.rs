//! Updates that are valid and mean harm, written by hand. Shared by the tests of the core and those of a whole server, so it
//! knows nothing of either.

/// One update that is being written (V1).
#[derive(Debug, Default)]
pub(crate) struct Update {
    clients: u64,
    structs: Vec<u8>,
    open: Vec<u8>,
    /// How many structs are open, whose they are, and where they begin.
    line: (u64, u64, u64),
    deleted_clients: u64,
    deleted: Vec<u8>,
}

/// Where an item is inserted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    /// At the beginning of a text of the document.
    Root,
    /// Under this key of a map of the document.
    Key(&'static str),
    /// Right of a unit.
    After(u64, u64),
    /// Left of a unit.
    Before(u64, u64),
    /// Between two.
    Between((u64, u64), (u64, u64)),
    /// In a shared type that is an item.
    In(u64, u64),
}

/// What an item holds: the kind, and its bytes.
pub(crate) type Content<'a> = (u8, &'a [u8]);

/// A letter.
pub(crate) const LETTER: Content<'static> = (4, b"\x01x");
/// An array.
pub(crate) const ARRAY: Content<'static> = (7, b"\x00");

pub(crate) fn var_uint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn id((client, clock): (u64, u64), out: &mut Vec<u8>) {
    var_uint(client, out);
    var_uint(clock, out);
}

impl Update {
    /// What follows are structs of this client. Clients must come from high to low.
    pub(crate) fn client(&mut self, client: u64, clock: u64) {
        self.close();
        self.line = (0, client, clock);
    }

    pub(crate) fn item(&mut self, at: At, (kind, content): Content<'_>) {
        self.line.0 += 1;
        let out = &mut self.open;
        match at {
            At::Root => out.extend([kind, 1, 1, b't']),
            At::Key(key) => {
                out.extend([kind | 0x20, 1, 1, b'm', key.len() as u8]);
                out.extend_from_slice(key.as_bytes());
            }
            At::After(client, clock) => {
                out.push(kind | 0x80);
                id((client, clock), out);
            }
            At::Before(client, clock) => {
                out.push(kind | 0x40);
                id((client, clock), out);
            }
            At::Between(left, right) => {
                out.push(kind | 0xc0);
                id(left, out);
                id(right, out);
            }
            At::In(client, clock) => {
                out.extend([kind, 0]);
                id((client, clock), out);
            }
        }
        out.extend_from_slice(content);
    }

    /// A tombstone, or a deletion that has no other bytes than its length.
    pub(crate) fn tombstone(&mut self, units: u64) {
        self.line.0 += 1;
        self.open.push(0);
        var_uint(units, &mut self.open);
    }

    pub(crate) fn delete(&mut self, client: u64, ranges: impl IntoIterator<Item = (u64, u64)>) {
        let ranges: Vec<_> = ranges.into_iter().collect();
        self.deleted_clients += 1;
        var_uint(client, &mut self.deleted);
        var_uint(ranges.len() as u64, &mut self.deleted);
        for (clock, units) in ranges {
            id((clock, units), &mut self.deleted);
        }
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.close();
        let mut out = Vec::with_capacity(self.structs.len() + self.deleted.len() + 16);
        var_uint(self.clients, &mut out);
        out.append(&mut self.structs);
        var_uint(self.deleted_clients, &mut out);
        out.append(&mut self.deleted);
        out
    }

    fn close(&mut self) {
        let (count, client, clock) = std::mem::take(&mut self.line);
        if count > 0 {
            self.clients += 1;
            var_uint(count, &mut self.structs);
            id((client, clock), &mut self.structs);
            self.structs.append(&mut self.open);
        }
    }
}

/// One update, in one line.
pub(crate) fn update(write: impl FnOnce(&mut Update)) -> Vec<u8> {
    let mut update = Update::default();
    write(&mut update);
    update.end()
}

/// What stands before the content of a text of so many bytes.
fn prefixed(text: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(text.len() + 5);
    var_uint(text.len() as u64, &mut content);
    content.extend_from_slice(text);
    content
}

/// A text of so many letters in one item, at clock 0.
pub(crate) fn text(client: u64, letters: usize) -> Vec<u8> {
    update(|update| {
        update.client(client, 0);
        update.item(At::Root, (4, &prefixed(&b"etaoin shrdlu".repeat(letters / 13 + 1)[..letters])));
    })
}

/// Every second of the first `2 × count` units, or every `step`th.
pub(crate) fn deletions(client: u64, count: usize, step: u64) -> Vec<u8> {
    update(|update| update.delete(client, (0..count as u64).map(|at| (at * step, 1))))
}

/// Clients that all insert right of one unit. In one message, from high to low.
pub(crate) fn crowd(first: u64, count: usize, at: At, each: usize) -> Vec<u8> {
    update(|update| {
        for client in (first..first + count as u64).rev() {
            update.client(client, 0);
            for _ in 0..each {
                update.item(at, LETTER);
            }
        }
    })
}

/// Each client's letter stands right of the one before. `upwards`: the higher the later, so that nothing can be taken in the
/// order in which it is written.
pub(crate) fn chain(first: u64, count: usize, upwards: bool) -> Vec<u8> {
    let last = first + count as u64 - 1;
    update(|update| {
        for client in (first..=last).rev() {
            update.client(client, 0);
            match upwards {
                true if client > first => update.item(At::After(client - 1, 0), LETTER),
                false if client < last => update.item(At::After(client + 1, 0), LETTER),
                _ => update.item(At::Root, LETTER),
            }
        }
    })
}

/// Arrays within arrays, from this depth on.
pub(crate) fn nested(client: u64, from: u64, to: u64) -> Vec<u8> {
    update(|update| {
        update.client(client, from);
        for clock in from..to {
            update.item(if clock == 0 { At::Root } else { At::In(client, clock - 1) }, ARRAY);
        }
    })
}

/// Letters of one client, each typed before the last one: they cannot be joined.
pub(crate) fn backwards(client: u64, count: u64) -> Vec<u8> {
    update(|update| {
        update.client(client, 0);
        for clock in 0..count {
            update.item(if clock == 0 { At::Root } else { At::Before(client, clock - 1) }, LETTER);
        }
    })
}

/// The smallest structs that are not joined.
pub(crate) fn smallest(client: u64, count: u64) -> Vec<u8> {
    update(|update| {
        update.client(client, 0);
        update.item(At::Root, LETTER);
        for clock in 1..count {
            // Binary content is never joined.
            update.item(At::Before(client, clock.min(100) - 1), (3, &[0]));
        }
    })
}

/// Insertions of other clients into a text of `letters`, from its end to its beginning.
pub(crate) fn from_the_end(text: u64, letters: u64, client: u64, count: u64) -> Vec<Vec<u8>> {
    let step = letters / (count + 1);
    let between = |number| {
        let right = letters - step * (number + 1);
        At::Between((text, right - 1), (text, right))
    };
    (0..count)
        .map(|number| {
            update(|update| {
                update.client(client, number);
                update.item(between(number), LETTER);
            })
        })
        .collect()
}

/// Two clients, each letter of which stands right of the other's newest.
pub(crate) fn ping_pong(high: u64, low: u64, count: u64) -> Vec<u8> {
    update(|update| {
        update.client(high, 0);
        for clock in 0..count {
            update.item(if clock == 0 { At::Root } else { At::After(low, clock - 1) }, LETTER);
        }
        update.client(low, 0);
        for clock in 0..count {
            update.item(At::After(high, clock), LETTER);
        }
    })
}

/// A text, and items that name it as their parent, which it is not.
pub(crate) fn parents_that_are_none(client: u64, letters: usize, count: usize) -> [Vec<u8>; 2] {
    let children = update(|update| {
        update.client(client - 1, 0);
        for at in 0..count as u64 {
            update.item(At::In(client, at % letters as u64), LETTER);
        }
    });
    [text(client, letters), children]
}

/// Values within values, as `any`.
pub(crate) fn nested_any(client: u64, depth: usize) -> Vec<u8> {
    let value = [vec![1], [0x75, 1].repeat(depth), vec![0x7e]].concat();
    update(|update| {
        update.client(client, 0);
        update.item(At::Root, (8, &value));
    })
}

/// Values within values, as the JSON of an embed.
pub(crate) fn nested_json(client: u64, depth: usize) -> Vec<u8> {
    let value = ["[".repeat(depth), "]".repeat(depth)].concat();
    update(|update| {
        update.client(client, 0);
        update.item(At::Root, (5, &prefixed(value.as_bytes())));
    })
}

/// A state vector of so many clients, each with this clock.
pub(crate) fn state_vector(first: u64, count: u64, clock: u64) -> Vec<u8> {
    let mut out = Vec::new();
    var_uint(count, &mut out);
    for client in (first..first + count).rev() {
        id((client, clock), &mut out);
    }
    out
}

/// Letters of one client, each right of a unit of another that is not there yet: its units come one by one.
pub(crate) fn waits_for_each(client: u64, ground: u64, count: u64) -> Vec<u8> {
    update(|update| {
        update.client(client, 0);
        for clock in 0..count {
            update.item(At::After(ground, clock), LETTER);
        }
    })
}

/// One letter of a client.
pub(crate) fn letter(client: u64, clock: u64) -> Vec<u8> {
    update(|update| {
        update.client(client, clock);
        update.item(if clock == 0 { At::Root } else { At::After(client, clock - 1) }, LETTER);
    })
}
