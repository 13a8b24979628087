//! Whether a text is JSON, without building what it says.

/// Whether the text is one JSON object, as `JSON.parse` takes it.
pub(super) fn object(text: &str) -> bool {
    let mut json = Json::new(text);
    json.space();
    json.peek() == Some(b'{') && json.document().is_some()
}

/// How deeply arrays and objects are nested in the text, if it is one JSON value, as `JSON.parse` takes it.
pub(super) fn value(text: &str) -> Option<usize> {
    Json::new(text).document()
}

struct Json<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    deepest: usize,
    /// One bit for each open container: set for an object. Those within 64 others stand apart, since there are hardly any.
    objects: u64,
    deep_objects: Vec<u64>,
}

impl<'a> Json<'a> {
    fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        Self { bytes, at: 0, depth: 0, deepest: 0, objects: 0, deep_objects: Vec::new() }
    }

    fn document(mut self) -> Option<usize> {
        self.value()?;
        self.space();
        (self.at == self.bytes.len()).then_some(self.deepest)
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
        self.deepest = self.deepest.max(self.depth + 1);
        self.space();
        if self.peek()? == if object { b'}' } else { b']' } {
            self.at += 1;
            return Some(true);
        }
        let bit = 1 << (self.depth % 64);
        let word = self.word_of(self.depth);
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
        if object {
            self.key()?;
        }
        Some(false)
    }

    fn word_of(&mut self, depth: usize) -> &mut u64 {
        let Some(deep) = (depth / 64).checked_sub(1) else { return &mut self.objects };
        if deep >= self.deep_objects.len() {
            self.deep_objects.resize(deep + 1, 0);
        }
        &mut self.deep_objects[deep]
    }

    fn in_object(&mut self) -> bool {
        let innermost = self.depth - 1;
        *self.word_of(innermost) & (1 << (innermost % 64)) != 0
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

    /// The rest of a `\u` escape. Half of a surrogate pair is as good as any: JavaScript's strings have them.
    fn escape(&mut self) -> Option<()> {
        for _ in 0..4 {
            self.next()?.is_ascii_hexdigit().then_some(())?;
        }
        Some(())
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
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digit()?;
            self.digits();
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digit()?;
            self.digits();
        }
        Some(())
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
