//! Bad input, and bad manners: whatever one client does, the others in its room notice nothing and keep talking.
//!
//! Owns: frames that break RFC 6455, text that is no request, and clients that stall, flood, vanish or do not read; each beside a
//! bystander in the same room, who counts every frame. Refuses to know: limits (`limits.rs`) and requests that never became a WebSocket (`http.rs`).

mod common;

use std::{
    collections::BTreeSet,
    io::Write,
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use common::{
    BINARY, CLOSE, CONTINUATION, Client, Frame, Hub, NO_LINGER, NO_RATES, PATIENCE, PING, PONG, ROOM, Raw, TEXT, chat,
    cut, data, join, leave, narrow_tcp, said, seq, tcp, upgrade_head, with_ref,
};
use serde_json::{Value, json};

/// A room with a bystander who sees every frame of it.
struct Scene {
    hub: Hub,
    anna: Client,
    /// The number of the last frame that the bystander has seen.
    seq: u64,
}

impl Scene {
    #[track_caller]
    fn new() -> Scene {
        Scene::with(NO_RATES)
    }

    #[track_caller]
    fn with(toml: &str) -> Scene {
        let hub = Hub::start(toml);
        let mut anna = hub.connect();
        let seq = seq(&anna.join(ROOM, "anna"));
        Scene { hub, anna, seq }
    }

    /// The bystander's next frame: none is missing before it.
    #[track_caller]
    fn next(&mut self) -> Value {
        let frame = self.anna.recv_json();
        self.seq += 1;
        assert_eq!(seq(&frame), self.seq, "{frame}");
        frame
    }

    /// Somebody joins, and the bystander sees that.
    #[track_caller]
    fn newcomer(&mut self, id: &str) -> Client {
        let mut client = self.hub.connect();
        client.join(ROOM, id);
        self.sees_join(id);
        client
    }

    #[track_caller]
    fn sees_join(&mut self, id: &str) {
        let joined = self.next();
        assert_eq!((&joined["msg"], &data(&joined)["newJoinMember"]["id"]), (&json!("Join successfully"), &json!(id)));
    }

    #[track_caller]
    fn sees_leave(&mut self, id: &str, reason: &str) {
        let left = self.next();
        let seen = (&left["msg"], &data(&left)["newLeaveMember"]["id"], &left["resultBody"]["extendFields"]["reason"]);
        assert_eq!(seen, (&json!("Leave successfully"), &json!(id), &json!(reason)));
    }

    /// The bystander talks, and that is the next that is heard in the room.
    #[track_caller]
    fn talks(&mut self) {
        let content = format!("after {}", self.seq);
        self.anna.send_json(&chat(ROOM, &content));
        let heard = self.next();
        assert_eq!(data(&heard)["content"], content, "{heard}");
    }

    /// The bystander talks, and both hear it as the next thing.
    #[track_caller]
    fn talks_to(&mut self, other: &mut Client) {
        self.talks();
        other.hear(&format!("after {}", self.seq - 1));
    }

    /// Somebody joins, sends these bytes and is closed with this code for it.
    #[track_caller]
    fn closes(&mut self, bytes: &[u8], code: u16) {
        let mut mallory = self.newcomer("mallory");
        self.talks_to(&mut mallory);
        mallory.send_bytes(bytes);
        mallory.expect_close(code);
        self.sees_leave("mallory", "closed");
        self.talks();
    }

    /// Somebody's message is refused with this code, naming this field; nobody else notices, and they stay.
    #[track_caller]
    fn refuses(&mut self, mallory: &mut Client, text: &str, code: &str, field: &str) -> Value {
        mallory.send_text(text);
        let failure = mallory.recv_failure(code);
        let msg = failure["msg"].as_str().unwrap_or_default();
        let shown: String = text.chars().take(200).collect();
        assert!(msg.starts_with(&format!("{field}: ")), "{shown}\nshould name {field}: {msg}");
        // Enough said of it: a reply is no echo.
        assert!(msg.len() < 300, "{msg}");
        // Anything that is right ends the row of bad ones.
        mallory.fence();
        failure
    }
}

// ---- Frames -------------------------------------------------------------------------------------

#[test]
fn frames_that_break_the_protocol() {
    let mut scene = Scene::new();
    let hi = chat(ROOM, "hi").to_string();
    let hi = Raw::text(&hi);
    let ping = Raw::new(PING, "ping");
    let mut bad = vec![
        Raw { masked: false, ..hi.clone() }.bytes(),
        Raw { masked: false, ..ping.clone() }.bytes(),
        Raw { masked: false, ..Raw::close(1000) }.bytes(),
        // Continuations of nothing, last or not.
        Raw { opcode: CONTINUATION, ..hi.clone() }.bytes(),
        Raw { opcode: CONTINUATION, fin: false, ..hi.clone() }.bytes(),
        // A message inside a fragmented one.
        [hi.clone().unfinished().bytes(), hi.bytes()].concat(),
        [hi.clone().unfinished().bytes(), hi.clone().unfinished().bytes()].concat(),
        [hi.clone().unfinished().bytes(), Raw::new(BINARY, "x").bytes()].concat(),
        // A continuation behind the end of one.
        [Raw::text(" ").unfinished().bytes(), Raw::new(CONTINUATION, r#"{"msgType":1}"#).bytes(), {
            Raw::new(CONTINUATION, "").bytes()
        }]
        .concat(),
        Raw::new(CLOSE, "x").bytes(),
    ];
    for rsv in [1, 2, 4, 7] {
        bad.push(Raw { rsv, ..hi.clone() }.bytes());
        bad.push(Raw { rsv, ..ping.clone() }.bytes());
    }
    for opcode in (3..=7).chain(11..=15) {
        bad.push(Raw::new(opcode, "").bytes());
        bad.push(Raw::new(opcode, "hi").bytes());
        bad.push(Raw::new(opcode, "hi").unfinished().bytes());
    }
    for opcode in [CLOSE, PING, PONG] {
        bad.push(Raw::new(opcode, "").unfinished().bytes());
        bad.push(Raw::new(opcode, [3, 0xE8].repeat(63)).bytes());
        bad.push(Raw::new(opcode, [3, 0xE8].repeat(1000)).bytes());
    }
    for bytes in bad {
        scene.closes(&bytes, 1002);
        // What stands behind it is not read any more.
        scene.closes(&[bytes, hi.bytes(), Raw::close(1000).bytes()].concat(), 1002);
    }
    for payload in [&b""[..], b"hi", &[0xFF; 300]] {
        scene.closes(&Raw::new(BINARY, payload).bytes(), 1003);
        let fragments = [Raw::new(BINARY, payload).unfinished().bytes(), Raw::new(CONTINUATION, payload).bytes()];
        scene.closes(&fragments.concat(), 1003);
    }
}

#[test]
fn text_that_is_not_utf8() {
    let mut scene = Scene::new();
    for bad in [
        &b"\xFF"[..],
        b"\x80",
        b"\xC0\xAF",                           // longer than it need be
        b"\xED\xA0\x80",                       // a surrogate
        b"\xF4\x90\x80\x80",                   // beyond the last character
        b"\xE5\xAD",                           // cut short
        b"{\"msgType\":1,\"x\":\"\xE5\xAD\"}", // cut short within
        b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80\x65\x64\x69\x74\x65\x64",
    ] {
        scene.closes(&Raw::new(TEXT, bad).bytes(), 1007);
        for at in 0..=bad.len() {
            let (start, end) = bad.split_at(at);
            let fragments = [Raw::new(TEXT, start).unfinished().bytes(), Raw::new(CONTINUATION, end).bytes()];
            scene.closes(&fragments.concat(), 1007);
        }
    }
    // A reason is text too.
    scene.closes(&Raw::new(CLOSE, b"\x03\xE8\xFF".to_vec()).bytes(), 1007);

    // A character across fragments is whole in the end; anything may stand between them.
    let mut mallory = scene.newcomer("mallory");
    let text = chat(ROOM, "老三😀").to_string();
    for piece in 1..5 {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(piece).collect();
        for (n, payload) in pieces.iter().enumerate() {
            let opcode = if n == 0 { TEXT } else { CONTINUATION };
            mallory.send(&Raw { fin: n + 1 == pieces.len(), ..Raw::new(opcode, *payload) });
            if n % 8 == 3 {
                mallory.send_all(&[Raw::new(PING, [n as u8]), Raw::new(PONG, "not asked for")]);
                assert_eq!(mallory.recv(), Frame { opcode: PONG, payload: vec![n as u8] });
            }
        }
        mallory.hear("老三😀");
        assert_eq!(data(&scene.next())["content"], "老三😀");
    }
}

#[test]
fn closes_are_echoed() {
    let mut scene = Scene::new();
    for code in [1000, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        scene.closes(&Raw::close(code).bytes(), code);
    }
    // With a reason, as long as it may be.
    let with_reason = [&[3, 0xE8][..], "再见".as_bytes(), &[b'.'; 117]].concat();
    assert_eq!(with_reason.len(), 125);
    scene.closes(&Raw::new(CLOSE, with_reason).bytes(), 1000);
    // Whatever comes behind a close is not read.
    scene.closes(&[Raw::close(1000), Raw::text(&chat(ROOM, "late").to_string())].map(|f| f.bytes()).concat(), 1000);
    // Inside a fragmented message too.
    scene.closes(&[Raw::text("{").unfinished(), Raw::close(3000)].map(|frame| frame.bytes()).concat(), 3000);
    for illegal in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        scene.closes(&Raw::close(illegal).bytes(), 1002);
    }

    // None comes back as none.
    let mut mallory = scene.newcomer("mallory");
    mallory.send(&Raw::new(CLOSE, ""));
    mallory.expect_close(None);
    scene.sees_leave("mallory", "closed");
    // 1001 is what a browser says on a reload: as if it had been lost.
    let mut mallory = scene.newcomer("mallory");
    mallory.send(&Raw::close(1001));
    mallory.expect_close(1001);
    scene.sees_leave("mallory", "lost");
    scene.talks();
}

#[test]
fn pings_are_answered_with_what_was_in_them() {
    let mut scene = Scene::new();
    let mut mallory = scene.newcomer("mallory");
    for payload in [&b""[..], b"x", b"\xFF\0\xFE", &[7; 125]] {
        mallory.send(&Raw::new(PING, payload));
        assert_eq!(mallory.recv(), Frame { opcode: PONG, payload: payload.to_vec() });
        scene.talks_to(&mut mallory);
    }
    // Pongs that nobody asked for are not answered.
    mallory.send_all(&[Raw::new(PONG, ""), Raw::new(PONG, "x")]);
    mallory.fence();
    scene.talks_to(&mut mallory);
}

// ---- Text that is no request --------------------------------------------------------------------

const MESSAGE: &str = "the message";
const REF: &str = "extendFields.ref";
const DATA: &str = "textData.data";
const FROM: &str = "textData.data.from";

/// A join, a leave, and both kinds of saying something, all in order.
fn requests() -> [Value; 4] {
    let member = json!({"id": "mallory", "personName": "", "personNum": "", "nickName": "", "headImgUrl": ""});
    let mut join = with_ref(join("elsewhere", "mallory"), "r");
    join["textData"]["data"]["from"] = member;
    let said = |mut request: Value| {
        request["textData"]["data"]["from"] = json!({"id": "mallory"});
        with_ref(request, "r")
    };
    [join, said(leave(ROOM)), said(chat(ROOM, "hi")), said(said_100())]
}

fn said_100() -> Value {
    said(100, ROOM, json!({"up": true}))
}

#[test]
fn what_is_not_json() {
    let mut scene = Scene::new();
    let mut mallory = scene.newcomer("mallory");
    for text in [
        "",
        " ",
        "\n\t\r ",
        "nonsense",
        "{",
        "}",
        "{}}",
        r#"{"msgType":1"#,
        r#"{"msgType":1}x"#,
        r#"{"msgType":1}{"msgType":1}"#,
        r#"{"msgType":1,}"#,
        r#"{,"msgType":1}"#,
        r#"{'msgType':1}"#,
        r#"{msgType:1}"#,
        r#"{"msgType":1 /* a comment */}"#,
        r#"{"msgType":01}"#,
        r#"{"msgType":+1}"#,
        r#"{"msgType":.5}"#,
        r#"{"msgType":1.}"#,
        r#"{"msgType":0x1}"#,
        r#"{"msgType":NaN}"#,
        r#"{"msgType":Infinity}"#,
        r#"{"msgType":undefined}"#,
        r#"{"msgType":True}"#,
        r#"{"msgType":1,"x":"\x41"}"#,
        r#"{"msgType":1,"x":"\u00"}"#,
        r#"{"msgType":1,"x":"\"#,
        r#"{"msgType":1,"x":"}"#,
        "{\"msgType\":1,\"x\":\"line\nbreak\"}",
        "{\"msgType\":1,\"x\":\"\0\"}",
        "\0",
        "{\"msgType\":1}\0",
        "\u{FEFF}{\"msgType\":1}",
        // JSON, and no object.
        "null",
        "true",
        "1",
        "-1.5e300",
        r#""{\"msgType\":1}""#,
        "[]",
        r#"[{"msgType":1}]"#,
        r#"[1,{"dataType":1},{"ref":"r"}]"#,
    ] {
        scene.refuses(&mut mallory, text, "bad_json", MESSAGE);
    }
    scene.talks_to(&mut mallory);
}

#[test]
fn nul_raw_and_escaped() {
    let mut scene = Scene::new();
    let mut mallory = scene.newcomer("mallory");
    // Raw, it is no JSON.
    let raw = chat(ROOM, "a~b").to_string().replace('~', "\0");
    scene.refuses(&mut mallory, &raw, "bad_json", MESSAGE);
    // Escaped, it is a character as any other.
    mallory.send_json(&with_ref(chat(ROOM, "a\0b"), "\0"));
    let heard = mallory.hear("a\0b");
    assert_eq!(heard["resultBody"]["extendFields"]["ref"], "\0");
    assert_eq!(data(&scene.next())["content"], "a\0b");
    let (room, id) = ("room\0", "id\0");
    let mut other = scene.hub.connect();
    assert_eq!(data(&other.join(room, id))["members"][0]["id"], id);
    // It ends nothing: these are another room and another id.
    scene.hub.connect().join("room", "id");
    scene.hub.connect().join(room, "id");
    scene.talks_to(&mut mallory);
}

#[test]
fn ten_thousand_brackets() {
    let mut scene = Scene::with(&format!("{NO_RATES}message_bytes = 1048576\nroom_log_bytes = 4194304\n"));
    let mut mallory = scene.newcomer("mallory");
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        let times = 10_000 / close.len();
        let (deep, open) = (format!("{}0{}", open.repeat(times), close.repeat(times)), open.repeat(times));
        let deep = deep.as_str();
        for text in [deep, &open] {
            mallory.send_text(text);
            mallory.recv_failure("bad_json");
            mallory.fence();
        }
        let with = |request: &str| request.replace('%', deep);
        let content = r#"{"msgType":3,"textData":{"dataType":100,"data":{"roomNumber":"E00001","content":%}}}"#;
        scene.refuses(&mut mallory, &with(content), "bad_json", "textData.data.content");
        // In the place of a known field, it is of the wrong type.
        for (request, field) in [
            (r#"{"msgType":%}"#, "msgType"),
            (r#"{"msgType":3,"textData":{"dataType":%}}"#, "textData.dataType"),
            (r#"{"msgType":3,"textData":{"dataType":2,"data":{"roomNumber":%}}}"#, "textData.data.roomNumber"),
            (r#"{"msgType":3,"extendFields":{"ref":%}}"#, REF),
        ] {
            scene.refuses(&mut mallory, &with(request), "bad_json", field);
        }
        // Of what is not known, nothing is asked, wherever it stands.
        for request in [
            r#"{"x":%,"msgType":1}"#,
            r#"{"msgType":3,"x":%,"textData":{"x":%,"dataType":2,"data":{"x":%,"from":{"x":%},"roomNumber":"nowhere"}},"extendFields":{"x":%}}"#,
        ] {
            mallory.send_text(&with(request));
            if request.contains("nowhere") {
                mallory.recv_failure("not_joined");
            }
            mallory.fence();
        }
    }
    scene.talks_to(&mut mallory);
}

#[test]
fn lone_surrogates() {
    let mut scene = Scene::new();
    let mut mallory = scene.newcomer("mallory");
    for lone in
        [r"\ud800", r"\udfff", r"a\ud83db", r"\ude00\ud83d", r"\ud83d\ud83d\ude00", r"\ud800\n", r"\uD83D\\ude00"]
    {
        for (request, field) in [
            (
                r#"{"msgType":3,"textData":{"dataType":3,"data":{"roomNumber":"E00001","content":"%"}}}"#,
                "textData.data.content",
            ),
            (
                r#"{"msgType":3,"textData":{"dataType":100,"data":{"roomNumber":"E00001","content":"%"}}}"#,
                "textData.data.content",
            ),
            (
                r#"{"msgType":3,"textData":{"dataType":100,"data":{"roomNumber":"E00001","content":[{"a":["%"]}]}}}"#,
                "textData.data.content",
            ),
            (
                r#"{"msgType":3,"textData":{"dataType":100,"data":{"roomNumber":"E00001","content":{"%":1}}}}"#,
                "textData.data.content",
            ),
            (
                r#"{"msgType":3,"textData":{"dataType":3,"data":{"roomNumber":"E00001","from":{"id":"%"},"content":""}}}"#,
                "textData.data.from.id",
            ),
            (r#"{"msgType":3,"textData":{"dataType":2,"data":{"roomNumber":"%"}}}"#, "textData.data.roomNumber"),
            (
                r#"{"msgType":2,"textData":{"dataType":1,"data":{"roomNumber":"%","from":{"id":"mallory"}}}}"#,
                "textData.data.roomNumber",
            ),
            (
                r#"{"msgType":2,"textData":{"dataType":1,"data":{"roomNumber":"x","from":{"id":"%"}}}}"#,
                "textData.data.from.id",
            ),
            (
                r#"{"msgType":2,"textData":{"dataType":1,"data":{"roomNumber":"x","from":{"id":"m","personName":"%"}}}}"#,
                "textData.data.from.personName",
            ),
            (
                r#"{"msgType":2,"textData":{"dataType":1,"data":{"roomNumber":"x","from":{"id":"m","personNum":"%"}}}}"#,
                "textData.data.from.personNum",
            ),
            (
                r#"{"msgType":2,"textData":{"dataType":1,"data":{"roomNumber":"x","from":{"id":"m","nickName":"%"}}}}"#,
                "textData.data.from.nickName",
            ),
            (
                r#"{"msgType":2,"textData":{"dataType":1,"data":{"roomNumber":"x","from":{"id":"m","headImgUrl":"%"}}}}"#,
                "textData.data.from.headImgUrl",
            ),
            (r#"{"msgType":3,"textData":{"dataType":2,"data":{"roomNumber":"x"}},"extendFields":{"ref":"%"}}"#, REF),
        ] {
            scene.refuses(&mut mallory, &request.replace('%', lone), "bad_json", field);
        }
    }
    // A pair is a character, and what only looks like half of one is none.
    for (written, content) in [(r"\ud83d\ude00", "😀"), (r"\\ud800", r"\ud800")] {
        mallory.send_text(&chat(ROOM, "%").to_string().replace('%', written));
        mallory.hear(content);
        assert_eq!(data(&scene.next())["content"], content);
    }
    scene.talks_to(&mut mallory);
}

#[test]
fn numbers_out_of_range() {
    let mut scene = Scene::new();
    let mut mallory = scene.newcomer("mallory");
    let nines = "9".repeat(400);
    let content = r#"{"msgType":3,"textData":{"dataType":100,"data":{"roomNumber":"E00001","content":%}}}"#;
    for number in
        ["1e400", "-1e400", "1E+309", "1.8e308", &nines, &format!("-{nines}.5"), &format!("[0,{{\"a\":{nines}}}]")]
    {
        scene.refuses(&mut mallory, &content.replace('%', number), "bad_json", "textData.data.content");
    }
    // What a double can hold, if not exactly, is relayed as it was written.
    for number in [
        "1e308",
        "-1.7976931348623157e308",
        "5e-324",
        "1e-400",
        "-0",
        "0.1000000000000000055511151231257827",
        "18446744073709551616",
        "1E5",
    ] {
        mallory.send_text(&content.replace('%', number));
        let heard = mallory.recv();
        assert!(heard.text().contains(&format!(r#""content":{number}}}"#)), "{number}: {}", heard.text());
        scene.next();
    }
    // Where a number decides what is meant, any integer is a number that this hub may not know; anything else is no integer.
    for number in [
        "0",
        "6",
        "-1",
        "-2",
        "256",
        "65537",
        "4294967297",
        "4294967298",
        "-4294967294",
        "18446744073709551617",
        &nines,
        "-99999999999999999999",
    ] {
        scene.refuses(&mut mallory, &format!(r#"{{"msgType":{number}}}"#), "unknown_type", "msgType");
        let request =
            format!(r#"{{"msgType":{number},"textData":{{"dataType":1,"data":{{}}}},"extendFields":{{"ref":"r"}}}}"#);
        assert_eq!(scene.refuses(&mut mallory, &request, "unknown_type", "msgType")["ref"], "r");
    }
    let data_type = |msg_type: u32, number: &str| {
        format!(
            r#"{{"msgType":{msg_type},"textData":{{"dataType":{number},"data":{{"roomNumber":"E00001","from":{{"id":"mallory"}},"content":"x"}}}},"extendFields":{{"ref":"r"}}}}"#
        )
    };
    for number in
        ["0", "6", "99", "65536", "65637", "-1", "-3", "4294967299", "4294967396", "18446744073709551619", &nines]
    {
        for msg_type in [2, 3] {
            let failure =
                scene.refuses(&mut mallory, &data_type(msg_type, number), "unknown_type", "textData.dataType");
            assert_eq!(failure["ref"], "r");
        }
    }
    // Known, and not there: joining is under 2 alone, talking under 3 alone.
    scene.refuses(&mut mallory, &data_type(3, "1"), "unknown_type", "textData.dataType");
    for number in ["4", "5"] {
        scene.refuses(&mut mallory, &data_type(2, number), "unknown_type", "textData.dataType");
    }
    for number in ["3", "100", "65535"] {
        scene.refuses(&mut mallory, &data_type(2, number), "unknown_type", "textData.dataType");
        mallory.send_text(&data_type(3, number));
        mallory.hear("x");
        scene.next();
    }
    for wrong in ["1.5", "-0.1", "\"1\"", "\"\"", "true", "null", "[]", "[1]", "{}"] {
        scene.refuses(&mut mallory, &format!(r#"{{"msgType":{wrong}}}"#), "bad_json", "msgType");
        for msg_type in [2, 3] {
            scene.refuses(&mut mallory, &data_type(msg_type, wrong), "bad_json", "textData.dataType");
        }
    }
    scene.talks_to(&mut mallory);
}

#[test]
fn the_wrong_type_for_each_field() {
    let mut scene = Scene::new();
    let mut mallory = scene.newcomer("mallory");
    let number_or_so = [json!(1), json!(1.5), json!(true), json!(false), json!({}), json!([]), json!(["E00001"])];
    let no_object = [json!(1), json!("x"), json!(""), json!(true), json!([]), json!([{}]), json!([1, {"dataType": 1}])];
    for request in requests() {
        let kind = &request["textData"]["dataType"];
        for (pointer, wrong) in [
            ("/textData", &no_object),
            ("/textData/data", &no_object),
            ("/textData/data/from", &no_object),
            ("/extendFields", &no_object),
            ("/extendFields/ref", &number_or_so),
            ("/textData/data/roomNumber", &number_or_so),
            ("/textData/data/from/id", &number_or_so),
            ("/textData/data/from/personName", &number_or_so),
            ("/textData/data/from/personNum", &number_or_so),
            ("/textData/data/from/nickName", &number_or_so),
            ("/textData/data/from/headImgUrl", &number_or_so),
        ] {
            // A leave has no `from` that anybody reads.
            if request.pointer(pointer).is_none() || (*kind == 2 && pointer.contains("from")) {
                continue;
            }
            for value in wrong {
                let mut request = request.clone();
                *request.pointer_mut(pointer).expect("it is there") = value.clone();
                let field = pointer[1..].replace('/', ".");
                let failure = scene.refuses(&mut mallory, &request.to_string(), "bad_json", &field);
                // What could be read of it can still be matched.
                let has_ref = !pointer.starts_with("/extendFields");
                assert_eq!(failure.get("ref").is_some(), has_ref, "{failure}");
            }
        }
    }
    // Chat text is text; application data is anything that is there.
    for value in number_or_so {
        scene.refuses(&mut mallory, &said(3, ROOM, value.clone()).to_string(), "bad_json", "textData.data.content");
        mallory.send_json(&said(100, ROOM, value.clone()));
        assert_eq!(data(&mallory.recv_json())["content"], value);
        scene.next();
    }
    // Empty is as good as missing for what is required.
    for pointer in ["/textData/data/from/id", "/textData/data/roomNumber"] {
        for value in [json!(""), Value::Null] {
            let mut request = requests()[0].clone();
            *request.pointer_mut(pointer).expect("it is there") = value;
            let field = pointer[1..].replace('/', ".");
            scene.refuses(&mut mallory, &request.to_string(), "bad_json", &field);
        }
    }
    scene.talks_to(&mut mallory);
}

#[test]
fn null_reads_as_absent() {
    let mut scene = Scene::new();
    let members = json!({"id": "mallory", "personName": null, "personNum": null, "nickName": null, "headImgUrl": null});
    for nulls in [json!(null), json!({"ref": null}), json!({})] {
        let mut mallory = scene.hub.connect();
        mallory.send_json(&json!({"msgType": 1, "textData": null, "extendFields": nulls}));
        let mut request = join(ROOM, "mallory");
        request["textData"]["data"]["from"] = members.clone();
        request["textData"]["data"]["content"] = json!(null);
        request["extendFields"] = nulls.clone();
        mallory.send_json(&request);
        let joined = mallory.recv_json();
        let member = json!({"id": "mallory", "personName": "", "personNum": "", "nickName": "", "headImgUrl": ""});
        assert_eq!(data(&joined)["newJoinMember"], member);
        assert!(joined["resultBody"]["extendFields"].get("ref").is_none(), "{joined}");
        scene.sees_join("mallory");
        for from in [json!(null), json!({"id": null}), json!({})] {
            let mut request = chat(ROOM, "who am I");
            request["textData"]["data"]["from"] = from;
            request["extendFields"] = nulls.clone();
            mallory.send_json(&request);
            let heard = mallory.hear("who am I");
            assert_eq!(data(&heard)["from"], member);
            assert!(heard["resultBody"]["extendFields"].get("ref").is_none(), "{heard}");
            assert_eq!(data(&scene.next())["from"], member);
        }
        // What is required is missing then.
        for (pointer, field) in [
            ("/textData", "textData"),
            ("/textData/data", DATA),
            ("/textData/data/roomNumber", "textData.data.roomNumber"),
            ("/textData/data/content", "textData.data.content"),
        ] {
            for mut request in [chat(ROOM, "x"), said_100()] {
                request.pointer_mut(pointer).expect("it is there").take();
                scene.refuses(&mut mallory, &request.to_string(), "bad_json", field);
            }
        }
        let mut request = requests()[0].clone();
        request["textData"]["data"]["from"].take();
        scene.refuses(&mut mallory, &request.to_string(), "bad_json", FROM);
        mallory.close();
        scene.sees_leave("mallory", "closed");
    }
    scene.talks();
}

#[test]
fn a_key_that_is_there_twice() {
    let mut scene = Scene::new();
    let mut mallory = scene.newcomer("mallory");
    // Two readers may well take two different ones of them, so it is neither.
    for text in [
        r#"{"msgType":2,"msgType":1}"#,
        r#"{"msgType":1,"msgType":1}"#,
        r#"{"msgType":3,"textData":null,"textData":{"dataType":2,"data":{"roomNumber":"E00001"}}}"#,
        r#"{"msgType":3,"textData":{"dataType":2,"dataType":3,"data":{"roomNumber":"E00001","content":"x"}}}"#,
        r#"{"msgType":3,"textData":{"dataType":3,"data":{"roomNumber":"E00001","content":"x","content":"y"}}}"#,
        r#"{"msgType":3,"textData":{"dataType":3,"data":{"roomNumber":"E00001","roomNumber":"E00002","content":"x"}}}"#,
        r#"{"msgType":3,"textData":{"dataType":3,"data":{"from":{"id":"mallory","id":"anna"},"roomNumber":"E00001","content":"x"}}}"#,
        r#"{"msgType":3,"textData":{"dataType":2,"data":{"roomNumber":"E00001"}},"extendFields":{"ref":"a","ref":"b"}}"#,
        "{\"msgType\":1,\"msg\\u0054ype\":2}",
    ] {
        mallory.send_text(text);
        mallory.recv_failure("bad_json");
        mallory.fence();
    }
    // Unknown ones, and those in content, are nobody's business here.
    mallory.send_text(r#"{"x":1,"x":2,"msgType":1}"#);
    mallory.send_text(
        r#"{"msgType":3,"textData":{"dataType":100,"data":{"roomNumber":"E00001","content":{"a":1,"a":2}}}}"#,
    );
    assert!(mallory.recv().text().contains(r#""content":{"a":1,"a":2}}"#));
    scene.next();
    scene.talks_to(&mut mallory);
}

#[test]
fn unknown_fields_order_and_white_space_mean_nothing() {
    let mut scene = Scene::new();
    let mut mallory = scene.hub.connect();
    let unknown =
        r#""status":1,"resultBody":{"msgType":[[null]]},"MsgType":5,"msgtype":"x","":0,"🙂":[1e999,"\ud800"]"#;
    let space = " \t\r\n";
    let texts = [
        format!(
            r#"{{{unknown},"extendFields":{{{unknown},"ref":"r"}},"textData":{{{unknown},"data":{{{unknown},"roomNumber":"E00001","from":{{{unknown},"id":"mallory"}}}},"dataType":1}},"msgType":2}}"#
        ),
        format!(
            r#"{{"msgType":3,{unknown},"textData":{{"data":{{"content":"hi",{unknown},"roomNumber":"E00001"}},{unknown},"dataType":3}},"extendFields":{{"ref":"r",{unknown}}}}}"#
        ),
    ];
    for (n, text) in texts.iter().enumerate() {
        // White space wherever there may be some: around everything but what is in quotes.
        let mut in_quotes = false;
        let mut wide = String::from(space);
        for mark in text.chars() {
            in_quotes ^= mark == '"';
            let spaced = !in_quotes && "{}[]:,".contains(mark);
            wide += if spaced { space } else { "" };
            wide.push(mark);
            wide += if spaced { space } else { "" };
        }
        wide += space;
        for text in [text, &wide] {
            mallory.send_text(text);
            let reply = mallory.recv_json();
            assert_eq!(
                (&reply["status"], &reply["resultBody"]["extendFields"]["ref"]),
                (&json!(1), &json!("r")),
                "{reply}"
            );
            if n == 0 {
                scene.sees_join("mallory");
                assert_eq!(data(&reply)["newJoinMember"]["id"], "mallory");
                mallory.send_json(&leave(ROOM));
                mallory.recv_json();
                scene.sees_leave("mallory", "left");
            } else {
                assert_eq!(data(&scene.next())["content"], "hi");
            }
        }
        if n == 0 {
            mallory.join(ROOM, "mallory");
            scene.sees_join("mallory");
        }
    }
    // Content keeps the white space that was in it.
    let text =
        r#"{"msgType":3,"textData":{"dataType":100,"data":{"roomNumber":"E00001","content": { "a" : [ 1 , 2 ] } }}}"#;
    mallory.send_text(text);
    assert!(mallory.recv().text().contains(r#""content":{ "a" : [ 1 , 2 ] }"#));
    scene.next();
    scene.talks_to(&mut mallory);
}

#[test]
fn nobody_speaks_for_anybody_else() {
    let mut scene = Scene::new();
    let mut mallory = scene.newcomer("mallory");
    let mut forged = with_ref(chat(ROOM, "I am Anna"), "r");
    forged["textData"]["data"]["from"] = json!({"id": "anna"});
    mallory.send_json(&forged);
    assert_eq!(mallory.recv_failure("identity")["ref"], "r");
    mallory.send_json(&with_ref(join("E00002", "anna"), "r"));
    assert_eq!(mallory.recv_failure("identity")["ref"], "r");
    // Another name under one's own id is not taken up, and a `ref`, quotes and all, comes back as it was.
    let reference = "\"},\"seq\":99,\"x\":{\"\\";
    let mut renamed = with_ref(chat(ROOM, "hi"), reference);
    renamed["textData"]["data"]["from"] = json!({"id": "mallory", "personName": "Anna"});
    mallory.send_json(&renamed);
    let heard = mallory.hear("hi");
    assert_eq!(data(&heard)["from"]["personName"], "");
    assert_eq!(heard["resultBody"]["extendFields"]["ref"], reference);
    let seen = scene.next();
    assert_eq!(data(&seen)["from"]["personName"], "");
    // Who is not in a room can neither talk there nor leave it.
    let mut outside = scene.hub.connect();
    for request in [chat(ROOM, "hi"), said_100(), leave(ROOM), chat("no such room", "hi")] {
        outside.send_json(&with_ref(request, "r"));
        assert_eq!(outside.recv_failure("not_joined")["ref"], "r");
    }
    scene.talks_to(&mut mallory);
}

// ---- Bad manners --------------------------------------------------------------------------------

#[test]
fn half_a_frame_then_silence_then_a_cut() {
    let mut scene = Scene::with(&format!("{NO_LINGER}{NO_RATES}"));
    let whole = Raw::text(&chat(ROOM, &"x".repeat(300)).to_string()).bytes();
    let ends: [fn(Client); 3] = [
        |client| drop(client),
        |client| cut(client.stream),
        |mut client| {
            client.stream.shutdown(Shutdown::Write).expect("it is connected");
            assert_eq!(client.recv_or_end(), None);
        },
    ];
    for end in ends {
        for length in [0, 1, 2, 3, 4, 7, 8, 100, whole.len() - 1] {
            let mut mallory = scene.newcomer("mallory");
            mallory.send_bytes(&whole[..length]);
            scene.talks_to(&mut mallory);
            end(mallory);
            scene.sees_leave("mallory", "lost");
            scene.talks();
        }
    }
}

#[test]
fn byte_by_byte() {
    let mut scene = Scene::new();
    let mut stream = tcp(scene.hub.addr);
    for byte in upgrade_head("/ws", "").bytes() {
        stream.write_all(&[byte]).expect("the hub reads");
    }
    let Ok(mut slow) = Client::upgraded(stream) else { panic!("a right head, however slow") };
    let drip = |slow: &mut Client, frame: &Raw| frame.bytes().iter().for_each(|byte| slow.send_bytes(&[*byte]));
    drip(&mut slow, &Raw::text(&join(ROOM, "slow").to_string()));
    assert_eq!(slow.recv_json()["msg"], "Join successfully");
    scene.sees_join("slow");
    drip(&mut slow, &Raw::text(r#"{"msgType":1}"#));
    drip(&mut slow, &Raw::new(PING, "are you there"));
    assert_eq!(slow.recv().opcode, PONG);
    let long = "老三".repeat(50);
    let text = chat(ROOM, &long).to_string();
    drip(&mut slow, &Raw::text(&text));
    slow.hear(&long);
    scene.next();
    for (n, byte) in text.bytes().enumerate() {
        let opcode = if n == 0 { TEXT } else { CONTINUATION };
        drip(&mut slow, &Raw { fin: n + 1 == text.len(), ..Raw::new(opcode, [byte]) });
    }
    slow.hear(&long);
    scene.next();
    scene.talks_to(&mut slow);
    drip(&mut slow, &Raw::close(4321));
    slow.expect_close(4321);
    scene.sees_leave("slow", "closed");
    scene.talks();
}

#[test]
fn everything_in_one_write() {
    let mut scene = Scene::new();
    let mut bytes = upgrade_head("/ws", "").into_bytes();
    for request in [join(ROOM, "hasty"), json!({"msgType": 1}), chat(ROOM, "one"), chat(ROOM, "two"), leave(ROOM)] {
        bytes.extend(Raw::text(&request.to_string()).bytes());
    }
    bytes.extend(Raw::new(PING, "p").bytes());
    bytes.extend(Raw::close(1000).bytes());
    let mut outside = scene.hub.connect();
    // Cut anywhere, it is the same.
    for at in [bytes.len(), 20, 150, 190, bytes.len() - 60, bytes.len() - 3] {
        let mut stream = tcp(scene.hub.addr);
        stream.write_all(&bytes[..at]).expect("the hub reads");
        if at < bytes.len() {
            // The hub has had a turn with what there is.
            outside.fence();
        }
        stream.write_all(&bytes[at..]).expect("the hub reads");
        let Ok(mut hasty) = Client::upgraded(stream) else { panic!("a right head") };
        let frames = hasty.recv_to_close(1000);
        let (pongs, texts): (Vec<Frame>, Vec<Frame>) = frames.into_iter().partition(|frame| frame.opcode == PONG);
        assert_eq!(pongs, [Frame { opcode: PONG, payload: b"p".to_vec() }]);
        let msgs: Vec<Value> = texts.iter().map(|frame| frame.json()["msg"].clone()).collect();
        assert_eq!(msgs, ["Join successfully", "Chat successfully", "Chat successfully", "Leave successfully"]);
        let seqs: Vec<u64> = texts.iter().map(|frame| seq(&frame.json())).collect();
        assert!(seqs.windows(2).all(|two| two[0] + 1 == two[1]), "{seqs:?}");
        scene.sees_join("hasty");
        for content in ["one", "two"] {
            assert_eq!(data(&scene.next())["content"], content);
        }
        scene.sees_leave("hasty", "left");
    }
}

#[test]
fn join_and_leave_churn() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 60;
    let mut scene = Scene::with(NO_LINGER);
    let addr = scene.hub.addr;
    let churns: Vec<_> = (0..THREADS)
        .map(|n| {
            thread::spawn(move || {
                let id = format!("churn {n}");
                let mut stays = None;
                for round in 0..ROUNDS {
                    let mut client = stays.take().unwrap_or_else(|| Client::connect(addr));
                    // The one before may still be leaving: then the id is taken, and it tries again.
                    loop {
                        client.send_json(&join(ROOM, &id));
                        // Nothing else can come before it is in.
                        let reply = client.recv_json();
                        if reply["status"] == 1 {
                            break;
                        }
                        thread::sleep(Duration::from_millis(1));
                    }
                    match round % 4 {
                        0 => cut(client.stream),
                        1 => drop(client),
                        2 => client.send(&Raw::close(1000)),
                        _ => {
                            client.send_json(&leave(ROOM));
                            while data(&client.recv_json())["newLeaveMember"]["id"] != id {}
                            stays = Some(client);
                        }
                    }
                }
            })
        })
        .collect();
    // The bystander sees each come and go in its turn, and in between hears itself.
    let mut present = BTreeSet::new();
    let (mut left, mut said, mut heard) = (0, 0, 0);
    while left < THREADS * ROUNDS {
        let frame = scene.next();
        let id = |field: &str| data(&frame)[field]["id"].as_str().expect("an id").to_owned();
        match frame["msg"].as_str() {
            Some("Join successfully") => assert!(present.insert(id("newJoinMember")), "joined twice: {frame}"),
            Some("Leave successfully") => {
                assert!(present.remove(&id("newLeaveMember")), "left twice: {frame}");
                left += 1;
            }
            Some("Chat successfully") => heard += 1,
            _ => panic!("{frame}"),
        }
        if left % 10 == 9 && said <= left / 10 {
            scene.anna.send_json(&chat(ROOM, "between"));
            said += 1;
        }
    }
    churns.into_iter().for_each(|churn| churn.join().expect("no panic"));
    assert!(present.is_empty(), "{present:?}");
    while heard < said {
        assert_eq!(data(&scene.next())["content"], "between");
        heard += 1;
    }
    // Who comes now finds two.
    let mut last = scene.hub.connect();
    let members = data(&last.join(ROOM, "last"))["members"].clone();
    let ids: Vec<&Value> = members.as_array().expect("members").iter().map(|member| &member["id"]).collect();
    assert_eq!(ids, ["anna", "last"]);
    scene.sees_join("last");
    scene.talks_to(&mut last);
}

// ---- Those who do not read ----------------------------------------------------------------------

/// Joins with a small receive buffer, and reads nothing from then on.
#[track_caller]
fn narrow(scene: &mut Scene, id: &str) -> Client {
    let mut client = Client::upgrade(narrow_tcp(scene.hub.addr), &upgrade_head("/ws", ""));
    client.join(ROOM, id);
    scene.sees_join(id);
    client
}

#[test]
fn a_reader_that_never_reads() {
    const MESSAGES: usize = 500;
    let mut scene = Scene::with(&format!("{NO_LINGER}{NO_RATES}room_log_bytes = 65536\n"));
    let mut bert = scene.newcomer("bert");
    let mut blocked = narrow(&mut scene, "blocked");
    assert_eq!(data(&bert.recv_json())["newJoinMember"]["id"], "blocked");
    let before_kib = scene.hub.resident_kib();
    let content = |n: usize| format!("{n} {}", "x".repeat(8000));
    let (mut left_at, mut seen) = (None, 0);
    for n in 0..MESSAGES {
        scene.anna.send_json(&chat(ROOM, &content(n)));
        loop {
            let frame = scene.next();
            assert_eq!(bert.recv_json(), frame);
            if frame["msg"] == "Chat successfully" {
                assert_eq!(data(&frame)["content"], content(n));
                break;
            }
            let leave = (&data(&frame)["newLeaveMember"]["id"], &frame["resultBody"]["extendFields"]["reason"]);
            assert_eq!(leave, (&json!("blocked"), &json!("slow")));
            assert_eq!(left_at.replace(n), None, "it left twice");
            // Now it reads: what had been sent, in order, whole frames to the last, and why it was closed.
            for frame in blocked.recv_to_close(4002) {
                assert_eq!(data(&frame.json())["content"], content(seen));
                seen += 1;
            }
        }
    }
    assert!(left_at.is_some(), "4 MB were held for it");
    assert!(seen < MESSAGES);
    // Nobody's memory grew with it: 4 MB went through a log of 64 KiB.
    let grown_kib = scene.hub.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < 2048, "{grown_kib} KiB more than before");
    // The seat is free, and whoever comes back finds everything as it was.
    blocked = scene.newcomer("blocked");
    assert_eq!(data(&bert.recv_json())["newJoinMember"]["id"], "blocked");
    scene.talks_to(&mut blocked);
}

#[test]
fn replies_that_nobody_reads() {
    // Not the room's frames but its own replies pile up: more than a queue may hold.
    let mut scene = Scene::with(&format!("{NO_LINGER}{NO_RATES}room_log_bytes = 65536\n"));
    let mut blocked = narrow(&mut scene, "blocked");
    let request = Raw::text(&with_ref(leave("elsewhere"), &"r".repeat(64)).to_string()).bytes().repeat(50);
    let mut watcher = scene.hub.connect();
    // Until it is gone: then its id is free.
    let until = Instant::now() + PATIENCE;
    loop {
        // Once it is closed, nobody need read what it still sends.
        let sent = blocked.stream.write_all(&request);
        watcher.send_json(&join(ROOM, "blocked"));
        if watcher.recv_json()["status"] == 1 {
            break;
        }
        assert!(sent.is_ok(), "{sent:?}");
        assert!(Instant::now() < until, "it may owe as much as it likes");
    }
    scene.sees_leave("blocked", "slow");
    scene.sees_join("blocked");
    for reply in blocked.recv_to_close(4002) {
        assert_eq!(reply.json()["code"], "not_joined");
    }
    scene.talks_to(&mut watcher);
}

#[test]
fn pings_are_answered_in_the_middle_of_what_is_owed() {
    const MESSAGES: usize = 128;
    let mut scene = Scene::with(&format!("{NO_RATES}room_log_bytes = 4194304\n"));
    let mut late = narrow(&mut scene, "late");
    let content = |n: usize| format!("{n} {}", "x".repeat(8000));
    // A ping now and then while the room talks a megabyte, and two more before it begins to read.
    let mut pings = 0u8;
    for n in 0..MESSAGES {
        scene.anna.send_json(&chat(ROOM, &content(n)));
        scene.next();
        if n % 16 == 8 {
            late.send(&Raw::new(PING, [pings]));
            pings += 1;
        }
    }
    late.send_all(&[Raw::new(PING, [pings]), Raw::new(PING, [pings + 1])]);
    pings += 2;
    let (mut heard, mut pongs) = (0, 0);
    while heard < MESSAGES {
        let frame = late.recv();
        if frame.opcode == PONG {
            assert_eq!(frame.payload, [pongs]);
            pongs += 1;
        } else {
            assert_eq!(data(&frame.json())["content"], content(heard));
            heard += 1;
            // And in the middle of reading.
            if heard % 32 == 16 {
                late.send(&Raw::new(PING, [pings]));
                pings += 1;
            }
        }
    }
    while pongs < pings {
        assert_eq!(late.recv(), Frame { opcode: PONG, payload: vec![pongs] });
        pongs += 1;
    }
    late.fence();
    scene.talks_to(&mut late);
}

#[test]
fn replies_overtake_nothing() {
    // The replies to what a blocked reader asks stand where the hub made them: behind what was said before, before what was said after.
    const MESSAGES: usize = 64;
    let mut scene = Scene::with(&format!("{NO_RATES}room_log_bytes = 4194304\n"));
    let mut late = narrow(&mut scene, "late");
    let mut expected = Vec::new();
    for n in 0..MESSAGES {
        let content = format!("{n} {}", "x".repeat(8000));
        scene.anna.send_json(&chat(ROOM, &content));
        scene.next();
        expected.push(content);
        if n % 8 == 7 {
            let reference = format!("asked after {n}");
            late.send_json(&with_ref(leave("elsewhere"), &reference));
            // What it says itself shows that the hub has read as far as that.
            late.send_json(&chat(ROOM, &reference));
            scene.next();
            expected.extend([format!("not_joined {reference}"), reference]);
        }
    }
    for expected in expected {
        let frame = late.recv_json();
        let got = match frame["code"].as_str() {
            Some(code) => format!("{code} {}", frame["ref"].as_str().expect("a ref")),
            None => data(&frame)["content"].as_str().expect("text").to_owned(),
        };
        assert_eq!(got, expected);
    }
    scene.talks_to(&mut late);
}

#[test]
fn whoever_leaves_is_owed_everything_up_to_it() {
    const MESSAGES: usize = 64;
    let mut scene = Scene::with(&format!("{NO_RATES}room_log_bytes = 4194304\n"));
    let mut late = narrow(&mut scene, "late");
    let content = |n: usize| format!("{n} {}", "x".repeat(8000));
    for n in 0..MESSAGES {
        scene.anna.send_json(&chat(ROOM, &content(n)));
        scene.next();
    }
    late.send_json(&leave(ROOM));
    scene.sees_leave("late", "left");
    scene.talks();
    for n in 0..MESSAGES {
        late.hear(&content(n));
    }
    assert_eq!(data(&late.recv_json())["newLeaveMember"]["id"], "late");
    // And nothing behind it, until it is back.
    late.fence();
    late.join(ROOM, "late");
    scene.sees_join("late");
    scene.talks_to(&mut late);
}

// ---- The hub stops ------------------------------------------------------------------------------

#[test]
fn the_hub_stops_with_members() {
    let mut scene = Scene::new();
    let mut bert = scene.newcomer("bert");
    let mut outside = scene.hub.connect();
    let mut asking = tcp(scene.hub.addr);
    asking.write_all(b"GET / HTTP/1.1\r\n").expect("the hub reads");
    scene.talks_to(&mut bert);
    scene.hub.terminate();
    // No leaves, and no more than the one word; all three hang up when they have read it.
    for client in [&mut scene.anna, &mut bert, &mut outside] {
        client.expect_close(1001);
    }
    drop((bert, outside, asking, scene.anna));
    assert_eq!(scene.hub.wait().code(), Some(0));
    scene.hub.wait_for_line("stopped");
}

#[test]
fn the_hub_gives_what_it_owes_before_it_stops() {
    const MESSAGES: usize = 96;
    let mut scene = Scene::with(&format!("{NO_RATES}room_log_bytes = 4194304\n"));
    let mut late = narrow(&mut scene, "late");
    let content = |n: usize| format!("{n} {}", "x".repeat(8000));
    for n in 0..MESSAGES {
        scene.anna.send_json(&chat(ROOM, &content(n)));
        scene.next();
    }
    scene.hub.terminate();
    scene.anna.expect_close(1001);
    // It begins to read only now.
    let owed = late.recv_to_close(1001);
    assert_eq!(owed.len(), MESSAGES);
    for (n, frame) in owed.iter().enumerate() {
        assert_eq!(data(&frame.json())["content"], content(n));
    }
    drop((late, scene.anna));
    assert_eq!(scene.hub.wait().code(), Some(0));
}

#[test]
fn the_hub_does_not_wait_for_ever_to_stop() {
    let mut scene = Scene::with(&format!("{NO_RATES}room_log_bytes = 4194304\n"));
    let blocked = narrow(&mut scene, "blocked");
    let mut rude = scene.newcomer("rude");
    let content = "x".repeat(8000);
    for _ in 0..96 {
        scene.anna.send_json(&chat(ROOM, &content));
        scene.next();
        rude.recv();
    }
    let told = Instant::now();
    scene.hub.terminate();
    scene.anna.expect_close(1001);
    // Neither the one who never reads nor the one who never hangs up keeps it.
    rude.expect_close(1001);
    assert_eq!(scene.hub.wait().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10), "5 s are promised: {:?}", told.elapsed());
    drop((blocked, rude));
}
