//! What editors do, and what they make of what they are told.

use super::*;

impl World {
    pub(super) fn edit(&mut self, editor: usize, at: usize, insert: bool) {
        self.tokens += 1;
        // Each piece is a character of its own, so that each can be found once, or not at all.
        let token = char::from_u32(0x4e00 + self.tokens).unwrap().to_string();
        let editor = &mut self.editors[editor];
        let root = editor.doc.get_or_insert_text("t");
        let mut transaction = editor.doc.transact_mut();
        let length = root.len(&transaction) as usize;
        if insert {
            root.insert(&mut transaction, (at % (length + 1)) as u32, &token);
        } else if length > 0 {
            let from = at % length;
            let length = (length - from).min(4);
            let text = root.get_string(&transaction);
            self.deleted.extend(text.chars().skip(from).take(length));
            root.remove_range(&mut transaction, from as u32, length as u32);
        }
        let update: Bytes = transaction.encode_update_v1().into();
        drop(transaction);
        editor.number = editor.number.next();
        let number = editor.number;
        editor.outstanding.push_back(Outstanding { number, answer: false, update });
    }

    pub(super) fn attach(&mut self, editor: usize, node: usize) {
        self.leave(editor);
        let of = &mut self.editors[editor];
        of.node = node;
        of.attached = true;
        of.sent = 0;
        of.inbox.clear();
        // What answered somebody else is a change like any other here.
        of.outstanding.iter_mut().for_each(|message| message.answer = false);
        let (session, resume) = (of.session, of.last);
        self.open(node);
        let rights = Rights::ReadWrite;
        self.ask(editor, Request::Attach { session, rights, subject: Subject::anyone(), resume });
        self.sync(editor, false);
    }

    pub(super) fn leave(&mut self, editor: usize) {
        if self.editors[editor].attached {
            let session = self.editors[editor].session;
            self.ask(editor, Request::Detach { session });
            self.editors[editor].attached = false;
        }
    }

    pub(super) fn send(&mut self, editor: usize) {
        let of = &mut self.editors[editor];
        if !of.attached {
            return;
        }
        if let Some(Outstanding { number, answer, update }) = of.outstanding.get(of.sent).cloned() {
            of.sent += 1;
            let session = of.session;
            self.ask(editor, Request::Update { session, number, answer, update });
        }
    }

    pub(super) fn sync(&mut self, editor: usize, empty: bool) {
        let of = &self.editors[editor];
        if of.attached {
            let state_vector = of.doc.transact().state_vector().encode_v1();
            let state_vector = if empty { vec![0] } else { state_vector };
            let session = of.session;
            self.ask(editor, Request::SyncRequest { session, state_vector: state_vector.into() });
        }
    }

    pub(super) fn read(&mut self, editor: usize) {
        while let Some(event) = self.editors[editor].inbox.pop_front() {
            self.take(editor, event);
        }
    }

    pub(super) fn take(&mut self, editor: usize, event: Event) {
        let of = &mut self.editors[editor];
        let mine = of.session;
        match event {
            Event::Publish { slot, updates, previous } => {
                // Who is behind drops updates, and asks for what it lacks; so does who was not answered yet.
                if of.last.is_some_and(|last| last >= previous) {
                    updates.iter().for_each(|update| of.apply(update));
                    of.last = of.last.max(Some(slot));
                }
            }
            Event::SyncAnswer { sessions, through, update } if sessions.contains(&mine) => {
                of.apply(&update);
                of.last = of.last.max(Some(through));
            }
            Event::CaughtUp { from, through, update } => {
                if of.last.is_some_and(|last| last >= from) {
                    of.apply(&update);
                    of.last = of.last.max(Some(through));
                }
            }
            Event::SyncRequest { session, state_vector } if session == mine => {
                let lacked = StateVector::decode_v1(&state_vector).unwrap();
                let update: Bytes = of.doc.transact().encode_state_as_update_v1(&lacked).into();
                of.number = of.number.next();
                let number = of.number;
                of.outstanding.push_back(Outstanding { number, answer: true, update });
            }
            Event::Acknowledge { session, through } if session == mine => {
                while of.outstanding.front().is_some_and(|message| message.number <= through) {
                    let message = of.outstanding.pop_front().unwrap();
                    of.sent = of.sent.saturating_sub(1);
                    self.acknowledged.push(message.update);
                }
            }
            Event::CloseSession { session, .. } if session == mine => {
                panic!("an honest editor was sent away")
            }
            Event::Refused { session, .. } if session == mine => panic!("an honest message was refused"),
            Event::Closed { .. } => panic!("nobody deleted the document"),
            _ => {}
        }
    }

    pub(super) fn ask(&mut self, editor: usize, request: Request) {
        let of = &self.editors[editor];
        let (node, attached) = (of.node, of.attached);
        if attached {
            // Each editor has a router of its own.
            let router = RouterId::new(editor as u64);
            self.tell(node, Input::Request { router, request });
        }
    }
}

impl Editor {
    fn apply(&mut self, update: &[u8]) {
        let mut transaction = self.doc.transact_mut();
        transaction.apply_update(Update::decode_v1(update).unwrap()).unwrap();
        assert!(!transaction.has_missing_updates(), "an editor was sent something with a hole");
    }
}
