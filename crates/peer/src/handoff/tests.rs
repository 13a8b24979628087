use super::*;

#[test]
fn presence_of_any_size_arrives_before_its_seal() {
    let entry = |client: u64| Presence {
        client: ClientId::new(client),
        clock: Clock::new(3),
        state: client.is_multiple_of(3).then(|| Bytes::from(vec![b'x'; 40 << 10])),
        subject: Subject::new("somebody"),
        raised_by: client.is_multiple_of(2).then(|| (RouterId::new(1), SessionId::new(client))),
        age: Duration::from_millis(client),
    };
    let (last, epoch) = (Slot::new(9), Epoch::new(4));
    let seal = Seal { last, epoch, presence: (0..40).map(entry).collect() };
    let sent = to_target_out(ToTarget::Seal(seal.clone()));
    assert!(sent.len() > 3);
    let gathering =
        |entries_max| Gathering { presence: Vec::new(), bytes: 0, entries_max, bytes_max: 1 << 20 };
    let mut few = gathering(39);
    assert!(sent.iter().cloned().any(|part| few.take(part).is_err()), "limits hold for other nodes too");
    let mut enough = gathering(40);
    let mut heard = Vec::new();
    for part in sent {
        assert!(prost::Message::encoded_len(&part) < crate::outbox::FRAME_BYTES_MAX);
        heard.extend(enough.take(part).unwrap());
    }
    assert_eq!(heard, [ToTarget::Seal(seal)]);
}

#[test]
fn what_a_target_says_arrives_as_it_was_said() {
    let (slot, epoch) = (Slot::new(7), Epoch::new(2));
    for said in [
        ToSource::Accept,
        ToSource::Busy,
        ToSource::Behind,
        ToSource::Refuse,
        ToSource::Warm { slot },
        ToSource::Claimed { epoch },
        ToSource::Failed,
    ] {
        assert_eq!(to_source_in(to_source_out(said)), Ok(said));
    }
    assert!(to_source_in(proto::ToSource::default()).is_err());
}
