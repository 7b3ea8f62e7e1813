//! What is read of a message, and the words for each way of getting it wrong.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The code and words of what was wrong with a message.
fn wrong(message: &Value) -> (Code, String) {
    let failure = Envelope::read(&message.to_string()).request.unwrap_err();
    (failure.code, failure.msg.into_owned())
}

fn join() -> Value {
    let from = json!({"id": "a", "personName": "张三", "personNum": "1", "nickName": "三", "headImgUrl": "/h.jpg"});
    json!({"msgType": 2, "textData": {"dataType": 1, "data": {"from": from, "roomNumber": "E1"}}, "extendFields": {"ref": "r"}})
}

fn chat() -> Value {
    json!({"msgType": 3, "textData": {"dataType": 3, "data": {"roomNumber": "E1", "content": "hi"}}, "extendFields": {}})
}

#[test]
fn a_join_is_read_where_it_lies() {
    let text = join().to_string();
    let Envelope { reference, request: Ok(Request::Join { from, room_number, .. }) } = Envelope::read(&text) else {
        panic!("not a join")
    };
    assert_eq!((reference, &*room_number, &*from.person_name), (Some("\"r\""), "E1", "张三"));
    for (name, value, _) in from.fields() {
        assert!(matches!(value, Cow::Borrowed(_)), "{name} was copied");
    }
}

/// What is put into messages below: of each kind, and of those that are taken for another.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        Just(json!([3, {"roomNumber": "E1", "content": "hi"}])),
        Just(json!({"dataType": 3, "data": [null, "E1", "hi"]})),
        Just(json!({"roomNumber": "E1", "content": {"a": [{"b": [[1e300]]}]}})),
        Just(json!("E1")),
        Just(json!(1)),
        Just(json!(3)),
        Just(json!(-7.5)),
        Just(json!(true)),
    ]
}

proptest! {
    #[test]
    fn a_message_reads_the_same_at_once_and_in_parts(
        is_join in any::<bool>(),
        odd in prop::collection::vec((0usize..8, odd()), 0..3),
        slip in prop::option::of((0usize..300, 0usize..3)),
        again in prop::option::of(prop::sample::select(vec!["msgType", "textData", "extendFields"])),
    ) {
        let mut message = if is_join { join() } else { chat() };
        for (place, odd) in odd {
            let place = [
                "/msgType", "/textData", "/extendFields", "/textData/dataType", "/textData/data",
                "/textData/data/roomNumber", "/textData/data/content", "/textData/data/from",
            ][place];
            if let Some(value) = message.pointer_mut(place) {
                *value = odd;
            }
        }
        let mut text = message.to_string();
        if let Some(name) = again {
            text = text.replacen('{', &format!(r#"{{"{name}":null,"#), 1);
        }
        if let Some((at, times)) = slip {
            // A letter is missing, or there are too many of it.
            let letters = text.chars().enumerate();
            text = letters.flat_map(|(n, letter)| std::iter::repeat_n(letter, if n == at { times } else { 1 })).collect();
        }
        let mut reference = None;
        let request = read_in_parts(&text, &mut reference);
        prop_assert_eq!(Envelope::read(&text), Envelope { reference, request }, "{}", text);
    }
}

#[test]
fn null_reads_as_absent_and_unknown_fields_as_nothing() {
    let mut message = join();
    message["textData"]["data"]["from"] = json!({"id": "a", "personName": null, "nickName": null, "age": [1]});
    message["extendFields"] = json!({"ref": null, "token": null, "later": {"x": 1}});
    message["more"] = json!([[[]]]);
    let text = message.to_string();
    let Envelope { reference: None, request: Ok(Request::Join { from, .. }) } = Envelope::read(&text) else {
        panic!("not a join")
    };
    assert_eq!(from, Member { id: "a".into(), ..Member::default() });
    message["extendFields"] = Value::Null;
    assert!(Envelope::read(&message.to_string()).request.is_ok());
}

#[test]
fn every_wrong_field_is_named_with_what_was_expected() {
    for (path, expected) in [
        ("/msgType", "msgType: expected an integer"),
        ("/textData", "textData: expected an object"),
        ("/extendFields", "extendFields: expected an object"),
        ("/extendFields/ref", "extendFields.ref: expected a string"),
        ("/textData/dataType", "textData.dataType: expected an integer"),
        ("/textData/data", "textData.data: expected an object"),
        ("/textData/data/roomNumber", "textData.data.roomNumber: expected a string"),
        ("/textData/data/from", "textData.data.from: expected an object"),
        ("/textData/data/from/id", "textData.data.from.id: expected a string"),
        ("/textData/data/from/personName", "textData.data.from.personName: expected a string"),
        ("/textData/data/from/personNum", "textData.data.from.personNum: expected a string"),
        ("/textData/data/from/nickName", "textData.data.from.nickName: expected a string"),
        ("/textData/data/from/headImgUrl", "textData.data.from.headImgUrl: expected a string"),
    ] {
        for bad in [json!([]), json!(true), json!([{"id": "a"}])] {
            let mut message = join();
            *message.pointer_mut(path).unwrap() = bad;
            assert_eq!(wrong(&message), (Code::BadJson, expected.to_string()));
        }
    }
    for bad in [json!([]), json!({}), json!(1), Value::Null] {
        let mut message = chat();
        message["textData"]["data"]["content"] = bad;
        assert_eq!(wrong(&message), (Code::BadJson, "textData.data.content: expected a string".to_string()));
    }
}

#[test]
fn what_must_be_there_and_not_empty_is_asked_for() {
    for path in ["msgType", "textData"] {
        let mut message = join();
        message.as_object_mut().unwrap().remove(path);
        assert!(wrong(&message).1.starts_with(&format!("{path}: expected")));
    }
    for (field, empty) in [("/textData/data/from/id", json!("")), ("/textData/data/roomNumber", json!(""))] {
        let mut message = join();
        *message.pointer_mut(field).unwrap() = empty;
        assert!(wrong(&message).1.ends_with("expected a string that is not empty"));
    }
}

#[test]
fn fields_are_measured_in_bytes() {
    for (path, limit) in [
        ("/textData/data/from/id", 64),
        ("/textData/data/from/personNum", 64),
        ("/textData/data/roomNumber", 64),
        ("/extendFields/ref", 64),
        ("/textData/data/from/personName", 96),
        ("/textData/data/from/nickName", 96),
        ("/textData/data/from/headImgUrl", 256),
    ] {
        let mut message = join();
        *message.pointer_mut(path).unwrap() = json!("老".repeat(limit / 3) + &"x".repeat(limit % 3));
        assert!(Envelope::read(&message.to_string()).request.is_ok(), "{path}");
        *message.pointer_mut(path).unwrap() = json!("老".repeat(limit / 3 + 1));
        let (code, msg) = wrong(&message);
        assert_eq!(code, Code::TooLong);
        assert!(msg.contains(path.rsplit('/').next().unwrap()) && msg.contains(&limit.to_string()), "{msg}");
    }
}

#[test]
fn types_that_are_not_spoken_are_unknown_whatever_comes_with_them() {
    for types in [
        (4, 1),
        (4, 2),
        (4, 100),
        (5, 2),
        (5, 3),
        (6, 1),
        (0, 1),
        (-1, 1),
        (2, 3),
        (2, 100),
        (3, 1),
        (3, 6),
        (3, 99),
        (3, 65_536),
        (3, -3),
    ] {
        let message = json!({"msgType": types.0, "textData": {"dataType": types.1, "data": {"odd": true}}});
        assert_eq!(wrong(&message).0, Code::UnknownType, "{types:?}");
    }
    let huge = "9".repeat(400);
    let text = format!(r#"{{"msgType":{huge},"textData":{{}}}}"#);
    assert_eq!(Envelope::read(&text).request.unwrap_err().code, Code::UnknownType);
    for number in ["1.5", "1e400", "\"2\"", "2.0"] {
        let text = format!(r#"{{"msgType":{number}}}"#);
        assert_eq!(Envelope::read(&text).request.unwrap_err().code, Code::BadJson, "{number}");
    }
}

#[test]
fn a_leave_is_taken_under_both_types_and_a_heartbeat_with_anything() {
    for msg_type in [2, 3] {
        let text = json!({"msgType": msg_type, "textData": {"dataType": 2, "data": {"roomNumber": "E1"}}}).to_string();
        assert_eq!(Envelope::read(&text).request, Ok(Request::Leave { room_number: "E1".into() }));
    }
    for text in [r#"{"msgType":1}"#, r#" { "textData":7, "msgType" : 1 , "extendFields":[] } "#] {
        assert_eq!(Envelope::read(text).request, Ok(Request::Heartbeat));
    }
}

#[test]
fn content_is_a_slice_of_the_message() {
    let text = r#"{"msgType":3,"textData":{"dataType":100,"data":{"content": {"up" : true} ,"roomNumber":"E1","from":{"id":"a"}}}}"#;
    let Ok(Request::Say { data_type: 100, content, from_id, .. }) = Envelope::read(text).request else {
        panic!("not application data")
    };
    assert_eq!((content, from_id.as_deref()), (r#"{"up" : true}"#, Some("a")));
}

#[test]
fn what_is_not_json_is_said_so_and_ten_thousand_brackets_harm_nobody() {
    let nested = "[".repeat(10_000);
    let closed = nested.clone() + &"]".repeat(10_000);
    let unknown = format!(r#"{{"msgType":1,"x":{closed}}}"#);
    assert_eq!(Envelope::read(&unknown).request, Ok(Request::Heartbeat));
    for text in [
        "",
        "null",
        "{",
        "{}x",
        "[1]",
        "\"\"",
        "{\"msgType\":1,}",
        "{\"msgType\":1}{",
        &nested,
        &closed,
        "{\"a\":\"\0\"}",
    ] {
        let failure = Envelope::read(text).request.unwrap_err();
        assert_eq!(failure.code, Code::BadJson, "{text}");
        assert!(failure.msg.len() < 200, "{}", failure.msg);
    }
    let twice = r#"{"msgType":1,"msgType":2}"#;
    assert!(Envelope::read(twice).request.unwrap_err().msg.contains("duplicate field `msgType`"));
}

#[test]
fn a_join_shows_what_it_has_of_an_earlier_seat() {
    let resume_of = |fields: Value| {
        let mut message = join();
        message["extendFields"] = fields;
        let text = message.to_string();
        match Envelope::read(&text).request {
            Ok(Request::Join { resume: Resume { token, last_seq }, .. }) => Ok((token.map(Cow::into_owned), last_seq)),
            other => Err(other.unwrap_err()),
        }
    };
    assert_eq!(resume_of(json!({})), Ok((None, None)));
    assert_eq!(resume_of(json!({"resumeToken": null, "lastSeq": null})), Ok((None, None)));
    assert_eq!(resume_of(json!({"resumeToken": "1f.9d", "lastSeq": 7})), Ok((Some("1f.9d".into()), Some(7))));
    assert_eq!(resume_of(json!({"lastSeq": -1})), Ok((None, Some(u64::MAX))));
    for (field, wrong, code, says) in [
        ("lastSeq", json!("7"), Code::BadJson, "extendFields.lastSeq: expected an integer"),
        ("lastSeq", json!(7.5), Code::BadJson, "extendFields.lastSeq: expected an integer"),
        ("resumeToken", json!(7), Code::BadJson, "extendFields.resumeToken: expected a string"),
        (
            "resumeToken",
            json!("x".repeat(65)),
            Code::TooLong,
            "extendFields.resumeToken: 65 bytes, at most 64 are allowed",
        ),
    ] {
        assert_eq!(resume_of(json!({ field: wrong })), Err(Failure::new(code, says)));
        // They mean something in a join alone.
        let mut message = chat();
        message["extendFields"] = json!({ field: wrong });
        assert!(Envelope::read(&message.to_string()).request.is_ok());
    }
}

#[test]
fn a_join_shows_what_lets_it_in_each_within_its_limit() {
    for (field, limit) in [("token", 2048), ("passcode", 64), ("ownerPasscode", 64)] {
        let shown = |value: Value| {
            let mut message = join();
            message["extendFields"] = json!({ field: value });
            let text = message.to_string();
            match Envelope::read(&text).request {
                Ok(Request::Join { credentials: Credentials { token, passcode, owner_passcode }, .. }) => {
                    let all = [("token", token), ("passcode", passcode), ("ownerPasscode", owner_passcode)];
                    assert!(all.iter().all(|(name, value)| *name == field || value.is_none()), "{field}");
                    Ok(all.into_iter().find_map(|(_, value)| value).map(Cow::into_owned))
                }
                other => Err(other.unwrap_err()),
            }
        };
        let longest = "x".repeat(limit);
        assert_eq!(shown(Value::Null), Ok(None));
        assert_eq!(shown(json!("")), Ok(Some(String::new())));
        assert_eq!(shown(json!(longest)), Ok(Some(longest.clone())));
        let says = format!("extendFields.{field}: {} bytes, at most {limit} are allowed", limit + 1);
        assert_eq!(shown(json!(longest + "x")), Err(Failure::new(Code::TooLong, says)));
        for wrong in [json!(1234), json!(["a"]), json!({}), json!(true)] {
            let says = format!("extendFields.{field}: expected a string");
            assert_eq!(shown(wrong.clone()), Err(Failure::new(Code::BadJson, says)));
            // They mean something in a join alone.
            let mut message = chat();
            message["extendFields"] = json!({ field: wrong });
            assert!(Envelope::read(&message.to_string()).request.is_ok());
        }
    }
}

#[test]
fn an_owner_says_what_changes_and_no_more() {
    let change_of = |data: Value| {
        let mut message = json!({"msgType": 3, "textData": {"dataType": 4, "data": data}});
        message["textData"]["data"]["roomNumber"] = json!("E1");
        match Envelope::read(&message.to_string()).request {
            Ok(Request::Rule { change: Change { locked, quiet }, .. }) => Ok((locked, quiet)),
            other => Err(other.unwrap_err()),
        }
    };
    assert_eq!(change_of(json!({"locked": true})), Ok((Some(true), None)));
    assert_eq!(change_of(json!({"quiet": false, "locked": null})), Ok((None, Some(false))));
    assert_eq!(change_of(json!({})), Ok((None, None)));
    for wrong in [json!(1), json!("true"), json!([])] {
        let says = "textData.data.locked: expected true or false";
        assert_eq!(change_of(json!({"locked": wrong})), Err(Failure::new(Code::BadJson, says)));
        let says = "textData.data.quiet: expected true or false";
        assert_eq!(change_of(json!({"quiet": wrong})), Err(Failure::new(Code::BadJson, says)));
    }
}

#[test]
fn somebody_is_removed_by_id_for_a_day_at_most() {
    let removal_of = |id: Value, for_s: Value| {
        let data = json!({"roomNumber": "E1", "id": id, "forS": for_s});
        let message = json!({"msgType": 3, "textData": {"dataType": 5, "data": data}}).to_string();
        match Envelope::read(&message).request {
            Ok(Request::Remove { id, for_s, .. }) => Ok((id.into_owned(), for_s)),
            other => Err(other.unwrap_err()),
        }
    };
    for for_s in [0, 1, 86_400] {
        assert_eq!(removal_of(json!("a\n"), json!(for_s)), Ok(("a\n".to_owned(), for_s)));
    }
    let says = "textData.data.forS: expected an integer from 0 to 86400, in seconds";
    for wrong in [json!(-1), json!(86_401), json!(u64::MAX), json!(1.0), json!("1"), Value::Null] {
        assert_eq!(removal_of(json!("a"), wrong), Err(Failure::new(Code::BadJson, says)));
    }
    let says = "textData.data.id: expected a string that is not empty";
    for wrong in [json!(""), Value::Null] {
        assert_eq!(removal_of(wrong, json!(1)), Err(Failure::new(Code::BadJson, says)));
    }
    let says = "textData.data.id: 65 bytes, at most 64 are allowed";
    assert_eq!(removal_of(json!("x".repeat(65)), json!(1)), Err(Failure::new(Code::TooLong, says)));
}

#[test]
fn a_receipt_names_one_message_or_up_to_64() {
    let seqs_of = |seq: Value| {
        let message =
            json!({"msgType": 4, "textData": {"dataType": 3, "data": {"roomNumber": "E1", "seq": seq}}}).to_string();
        match Envelope::read(&message).request {
            Ok(Request::Receipt { seqs, .. }) => Ok((seqs.numbers, seqs.in_array)),
            other => Err(other.unwrap_err()),
        }
    };
    assert_eq!(seqs_of(json!(17)), Ok((vec![17], false)));
    assert_eq!(seqs_of(json!([17])), Ok((vec![17], true)));
    assert_eq!(seqs_of(json!([3, 1, 3, 2, 1])), Ok((vec![3, 1, 2], true)));
    assert_eq!(seqs_of(json!(-1)), Ok((vec![0], false)));
    assert_eq!(seqs_of(json!((0..64).collect::<Vec<_>>())).map(|(seqs, _)| seqs.len()), Ok(64));
    let expected = "textData.data.seq: expected an integer, or an array of 1 to 64";
    for wrong in [json!([]), Value::Null, json!("1"), json!(1.0), json!([1, [2]]), json!([1, null]), json!({})] {
        assert_eq!(seqs_of(wrong), Err(Failure::new(Code::BadJson, expected)));
    }
    let too_long = "textData.data.seq: 65 numbers, at most 64 are allowed";
    assert_eq!(seqs_of(json!((0..65).collect::<Vec<_>>())), Err(Failure::new(Code::TooLong, too_long)));
}

#[test]
fn the_ref_survives_whatever_else_is_wrong() {
    for mut message in [join(), chat()] {
        message["extendFields"] = json!({"ref": "\u{1}\"r"});
        message["textData"] = json!([]);
        assert_eq!(Envelope::read(&message.to_string()).reference, Some(r#""\u0001\"r""#));
    }
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in ".{0,200}") {
        let _read = Envelope::read(&text);
    }

    #[test]
    fn no_cut_or_flip_of_a_good_message_is_too_odd(at in 0usize..200, byte in any::<u8>()) {
        let mut bytes = join().to_string().into_bytes();
        let at = at % bytes.len();
        let cut = String::from_utf8_lossy(&bytes[..at]).into_owned();
        prop_assert!(Envelope::read(&cut).request.is_err());
        bytes[at] = byte;
        let _read = Envelope::read(&String::from_utf8_lossy(&bytes));
    }
}
