//! Any text as a message from a client.
//!
//! Owns: the reading of requests a second time, over [`Value`], as PROTOCOL.md tells it, to compare with. Refuses to know: the words of failures.
#![no_main]

use std::ops::ControlFlow;

use classhub::limits;
use classhub::wire::request::{Change, Envelope};
use classhub::wire::{Code, Failure, Member, Request};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let envelope = Envelope::read(text);
    if let Some(reference) = envelope.reference {
        assert!(is_slice(reference, text));
        let reference: String = serde_json::from_str(reference).expect("a ref is a string");
        assert!(reference.len() <= limits::ID_BYTES);
    }
    if let Ok(Request::Say { content, .. }) = &envelope.request {
        assert!(is_slice(content, text));
        serde_json::from_str::<Value>(content).expect("what is relayed can be read by anyone");
    }
    if let Err(failure) = &envelope.request {
        assert!(failure.msg.len() <= 512 && !failure.msg.contains(char::is_control), "{failure:?}");
    }
    // What is ignored may be deeper, larger or odder than a `Value` holds. What is relayed may not, as was seen above.
    let Ok(message) = serde_json::from_str::<Value>(text) else { return };
    compare(&message, &envelope);
});

fn is_slice(part: &str, whole: &str) -> bool {
    let (part, whole) = (part.as_bytes().as_ptr_range(), whole.as_bytes().as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

fn compare(message: &Value, envelope: &Envelope) {
    let Envelope { reference, request } = envelope;
    if let Some(reference) = reference {
        let reference: Value = serde_json::from_str(reference).unwrap();
        assert_eq!(message["extendFields"]["ref"], reference);
    }
    let refused = match request {
        Err(Failure { code: Code::BadJson, msg }) if msg.contains("duplicate field") => return,
        Err(failure) => Some(failure.code),
        Ok(_) => None,
    };
    let mut expected = Expected { request, reference: None };
    let code = match expected.judge(message) {
        ControlFlow::Continue(()) => None,
        // Whether a number was written as an integer is not to be seen any more where it does not fit into one.
        ControlFlow::Break(None) => return,
        ControlFlow::Break(Some(code)) => Some(code),
    };
    assert_eq!(refused, code, "{request:?}");
    // A heartbeat is not read any further.
    if !matches!(request, Ok(Request::Heartbeat)) {
        assert_eq!(reference.is_some(), expected.reference.is_some());
    }
}

/// Ends with the code of the first thing that is wrong, or without one where that can't be told.
type Judged<T> = ControlFlow<Option<Code>, T>;

struct Expected<'a, 'r> {
    request: &'a Result<Request<'r>, Failure>,
    reference: Option<&'a str>,
}

impl<'a> Expected<'a, '_> {
    fn judge(&mut self, message: &'a Value) -> Judged<()> {
        object(message)?;
        let msg_type = integer(&message["msgType"])?;
        if msg_type == Some(1) {
            return self.is(&Request::Heartbeat);
        }
        let extend_fields = &message["extendFields"];
        if !extend_fields.is_null() {
            object(extend_fields)?;
        }
        self.reference = string(&extend_fields["ref"], limits::ID_BYTES)?;
        if !matches!(msg_type, Some(2..=5)) {
            return wrong(Code::UnknownType);
        }
        object(&message["textData"])?;
        let data_type = integer(&message["textData"]["dataType"])?;
        let data = &message["textData"]["data"];
        let types = (msg_type.unwrap_or(0), data_type.unwrap_or(0));
        if !matches!(types, (2, 1 | 2) | (3, 2..=5 | 100..=65_535) | (4, 3) | (5, 1)) {
            return wrong(Code::UnknownType);
        }
        object(data)?;
        let room_number = not_empty(&data["roomNumber"], limits::ID_BYTES)?.into();
        match types {
            (2, 1) => self.join(data, extend_fields, room_number),
            (2 | 3, 2) => self.is(&Request::Leave { room_number }),
            (3, 4) => {
                let change = Change { locked: switch(&data["locked"])?, quiet: switch(&data["quiet"])? };
                self.is(&Request::Rule { room_number, change })
            }
            (3, 5) => {
                let id = not_empty(&data["id"], limits::ID_BYTES)?.into();
                let Some(for_s @ 0..=86_400) = integer(&data["forS"])? else { return wrong(Code::BadJson) };
                self.is(&Request::Remove { room_number, id, for_s: for_s as u32 })
            }
            (4, _) => self.receipt(data, room_number),
            (5, _) => self.is(&Request::Pull { room_number }),
            (_, said) => self.say(data, said, room_number),
        }
    }

    fn is(&self, expected: &Request) -> Judged<()> {
        assert_eq!(self.request.as_ref(), Ok(expected));
        ControlFlow::Continue(())
    }

    fn join(&self, data: &Value, extend_fields: &Value, number: std::borrow::Cow<str>) -> Judged<()> {
        let from = &data["from"];
        object(from)?;
        let id = not_empty(&from["id"], limits::ID_BYTES)?;
        let text = |name: &str, limit| Judged::Continue(string(&from[name], limit)?.unwrap_or_default().to_owned());
        let expected = Member {
            id: id.into(),
            person_name: text("personName", limits::NAME_BYTES)?.into(),
            person_num: text("personNum", limits::ID_BYTES)?.into(),
            nick_name: text("nickName", limits::NAME_BYTES)?.into(),
            head_img_url: text("headImgUrl", limits::URL_BYTES)?.into(),
        };
        let token = string(&extend_fields["resumeToken"], limits::RESUME_TOKEN_BYTES)?;
        let last_seq = match &extend_fields["lastSeq"] {
            Value::Null => None,
            number => Some(integer(number)?.unwrap_or(u64::MAX)),
        };
        let school_token = string(&extend_fields["token"], limits::TOKEN_BYTES)?;
        let passcode = string(&extend_fields["passcode"], limits::PASSCODE_BYTES)?;
        let owner_passcode = string(&extend_fields["ownerPasscode"], limits::PASSCODE_BYTES)?;
        let Ok(Request::Join { from, room_number, resume, credentials }) = self.request else {
            panic!("not the join that it is: {:?}", self.request)
        };
        assert_eq!((from, &**room_number), (&expected, &*number));
        assert_eq!((resume.token.as_deref(), resume.last_seq), (token, last_seq));
        let shown =
            [&credentials.token, &credentials.passcode, &credentials.owner_passcode].map(|shown| shown.as_deref());
        assert_eq!(shown, [school_token, passcode, owner_passcode]);
        ControlFlow::Continue(())
    }

    fn say(&self, data: &Value, said: u64, number: std::borrow::Cow<str>) -> Judged<()> {
        let mut expected_id = None;
        if !data["from"].is_null() {
            object(&data["from"])?;
            expected_id = string(&data["from"]["id"], limits::ID_BYTES)?.filter(|id| !id.is_empty());
        }
        let expected = &data["content"];
        if expected.is_null() || said == 3 && !expected.is_string() || depth(expected) > limits::CONTENT_DEPTH {
            return wrong(Code::BadJson);
        }
        let Ok(Request::Say { data_type, room_number, from_id, content }) = self.request else {
            panic!("nothing said, where something is: {:?}", self.request)
        };
        assert_eq!((u64::from(*data_type), &**room_number, from_id.as_deref()), (said, &*number, expected_id));
        assert_eq!(serde_json::from_str::<Value>(content).as_ref().ok(), Some(expected));
        ControlFlow::Continue(())
    }

    fn receipt(&self, data: &Value, number: std::borrow::Cow<str>) -> Judged<()> {
        let seq = &data["seq"];
        let parts = match seq {
            Value::Array(parts) => &parts[..],
            one => std::slice::from_ref(one),
        };
        if parts.is_empty() {
            return wrong(Code::BadJson);
        }
        if parts.len() > limits::RECEIPT_SEQS {
            return wrong(Code::TooLong);
        }
        let mut expected = Vec::new();
        for part in parts {
            let part = integer(part)?.unwrap_or(0);
            if !expected.contains(&part) {
                expected.push(part);
            }
        }
        let Ok(Request::Receipt { room_number, seqs }) = self.request else {
            panic!("not the receipt that it is: {:?}", self.request)
        };
        assert_eq!((&**room_number, &seqs.numbers, seqs.in_array), (&*number, &expected, seq.is_array()));
        ControlFlow::Continue(())
    }
}

fn wrong<T>(code: Code) -> Judged<T> {
    ControlFlow::Break(Some(code))
}

fn object(value: &Value) -> Judged<()> {
    if value.is_object() { ControlFlow::Continue(()) } else { wrong(Code::BadJson) }
}

/// An integer; `None` for one below 0.
fn integer(value: &Value) -> Judged<Option<u64>> {
    match value {
        Value::Number(number) if number.is_f64() => ControlFlow::Break(None),
        Value::Number(number) => ControlFlow::Continue(number.as_u64()),
        _ => wrong(Code::BadJson),
    }
}

fn string(value: &Value, limit: usize) -> Judged<Option<&str>> {
    match value {
        Value::Null => ControlFlow::Continue(None),
        Value::String(text) if text.len() > limit => wrong(Code::TooLong),
        Value::String(text) => ControlFlow::Continue(Some(text)),
        _ => wrong(Code::BadJson),
    }
}

fn not_empty(value: &Value, limit: usize) -> Judged<&str> {
    match string(value, limit)? {
        Some(text) if !text.is_empty() => ControlFlow::Continue(text),
        _ => wrong(Code::BadJson),
    }
}

fn switch(value: &Value) -> Judged<Option<bool>> {
    match value {
        Value::Null => ControlFlow::Continue(None),
        Value::Bool(on) => ControlFlow::Continue(Some(*on)),
        _ => wrong(Code::BadJson),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
