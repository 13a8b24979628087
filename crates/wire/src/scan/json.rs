//! Whether a text is JSON, without building what it says.

/// The deepest nesting that can be followed: one bit each.
const NESTING_MAX: usize = 512;

/// The deepest nesting of JSON that the CRDT library reads.
const CRDT_NESTING_MAX: usize = 127;

/// Whether the text is one JSON object, as `JSON.parse` takes it.
pub(super) fn object(text: &str, nesting_max: usize) -> bool {
    let mut json = Json::new(text, nesting_max.min(NESTING_MAX), false);
    json.space();
    json.peek() == Some(b'{') && json.document()
}

/// Whether the text is one JSON value that the CRDT library can hold. It is stricter than `JSON.parse`: it takes no
/// lone surrogates, no numbers beyond a 64-bit float, no integers from 2^63 to 2^64, and no nesting beyond 127.
pub(super) fn for_crdt(text: &str, nesting_max: usize) -> bool {
    Json::new(text, nesting_max.min(CRDT_NESTING_MAX), true).document()
}

struct Json<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    nesting_max: usize,
    /// One bit for each open container: set for an object.
    objects: [u64; NESTING_MAX / 64],
    for_crdt: bool,
}

impl<'a> Json<'a> {
    fn new(text: &'a str, nesting_max: usize, for_crdt: bool) -> Self {
        let bytes = text.as_bytes();
        Self { bytes, at: 0, depth: 0, nesting_max, objects: [0; NESTING_MAX / 64], for_crdt }
    }

    fn document(mut self) -> bool {
        self.value().is_some() && {
            self.space();
            self.at == self.bytes.len()
        }
    }

    /// One value with everything in it.
    fn value(&mut self) -> Option<()> {
        loop {
            self.space();
            let mut complete = true;
            match self.next()? {
                open @ (b'{' | b'[') => complete = self.open(open == b'{')?,
                b'"' => self.string()?,
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                b'-' | b'0'..=b'9' => self.number()?,
                _ => return None,
            }
            // A complete value ends what is open, or leads to its next value.
            while complete {
                if self.depth == 0 {
                    return Some(());
                }
                self.space();
                let object = self.in_object();
                match self.next()? {
                    b',' => {
                        if object {
                            self.key()?;
                        }
                        complete = false;
                    }
                    b'}' if object => self.depth -= 1,
                    b']' if !object => self.depth -= 1,
                    _ => return None,
                }
            }
        }
    }

    /// Begins a container. Answers whether it is already complete, because it is empty.
    fn open(&mut self, object: bool) -> Option<bool> {
        self.space();
        if self.peek()? == if object { b'}' } else { b']' } {
            self.at += 1;
            return (self.depth < self.nesting_max).then_some(true);
        }
        if self.depth == self.nesting_max {
            return None;
        }
        let bit = 1 << (self.depth % 64);
        let word = &mut self.objects[self.depth / 64];
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
        if object {
            self.key()?;
        }
        Some(false)
    }

    fn in_object(&self) -> bool {
        let innermost = self.depth - 1;
        self.objects[innermost / 64] & (1 << (innermost % 64)) != 0
    }

    fn key(&mut self) -> Option<()> {
        self.space();
        (self.next()? == b'"').then_some(())?;
        self.string()?;
        self.space();
        (self.next()? == b':').then_some(())
    }

    /// The rest of a string.
    fn string(&mut self) -> Option<()> {
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => self.escape()?,
                    _ => return None,
                },
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    /// The rest of a `\u` escape, and of the second half of a pair.
    fn escape(&mut self) -> Option<()> {
        let unit = self.hex()?;
        if !self.for_crdt {
            return Some(());
        }
        match unit {
            0xd800..=0xdbff => {
                self.word(b"\\u")?;
                (0xdc00..=0xdfff).contains(&self.hex()?).then_some(())
            }
            0xdc00..=0xdfff => None,
            _ => Some(()),
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + char::from(self.next()?).to_digit(16)?;
        }
        Some(unit)
    }

    /// The rest of a number, of which one byte has been read.
    fn number(&mut self) -> Option<()> {
        let begin = self.at - 1;
        let negative = self.bytes[begin] == b'-';
        let first = if negative { self.next()? } else { self.bytes[begin] };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            integer = false;
            self.at += 1;
            self.digit()?;
            self.digits();
        }
        if let Some(b'e' | b'E') = self.peek() {
            integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digit()?;
            self.digits();
        }
        // Short numbers are in every range.
        if !self.for_crdt || (integer && self.at - begin < 19) {
            return Some(());
        }
        let text = std::str::from_utf8(&self.bytes[begin..self.at]).ok()?;
        let finite = text.parse::<f64>().is_ok_and(f64::is_finite);
        let beyond_signed = integer && text.parse::<u64>().is_ok_and(|number| number > i64::MAX as u64);
        (finite && !beyond_signed).then_some(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn digit(&mut self) -> Option<()> {
        self.next()?.is_ascii_digit().then_some(())
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(rest).then(|| self.at += rest.len())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }
}
