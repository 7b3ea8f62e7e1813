//! Every example of the source specification, against the running hub.
//!
//! Owns: `tests/spec/*.json`, the examples as the source prints them, and the comparison with what the hub says, as JSON values.
//! Refuses to know: what the source leaves open.
//!
//! Where an example cannot be had literally, this is what was done, and nothing else:
//! - `resultBody.extendFields` is taken out of what the hub says. The source keeps it as a spare; the hub writes `seq` and `time` there.
//! - `createTime` is when the hub started. It has to be an integer between this test's start and now, and then reads as the example's.
//! - The skeletons leave values out: `null` stands in their place, and `data` is empty.
//! - The join example names one id twice, which its own duplicate rule forbids. The second member and `newJoinMember` have the id of the
//!   join request's example here.

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::{Client, Hub, join, leave};
use serde_json::{Value, json};

const ONE: &str = "1jt5325h83rf5h9ue6jk8r3h8jk1";
const TWO: &str = "1jt5325h83rf5h9ue6jk8r3h8jk2";
const FOUR: &str = "1jt5325h83rf5h9ue6jk8r3h8jk4";

macro_rules! example {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("spec/", $name, ".json"))).expect("the example is JSON")
    };
}

/// A hub with the examples' room, owned by whom the example says.
fn hub(owner_id: &str) -> Hub {
    Hub::start(&format!(
        "[[room]]\nnumber = \"E00001\"\nname = \"房间名称\"\ndesc = \"房间描述\"\n\
         [room.owner]\nid = \"{owner_id}\"\npersonName = \"张三\"\npersonNum = \"XS00001\"\nnickName = \"老三\"\n\
         headImgUrl = \"/abc/efg/h.jpg\"\n"
    ))
}

/// The join example, from somebody with this id.
fn join_as(id: &str) -> Value {
    let mut request = example!("request-join");
    request["textData"]["data"]["from"]["id"] = json!(id);
    request
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("this clock is set").as_millis() as u64
}

/// What the hub says next, made comparable with `example`: see the top of this file.
#[track_caller]
fn next(client: &mut Client, example: &Value, started_ms: u64) -> Value {
    let mut said = client.recv_json();
    let body = said["resultBody"].as_object_mut().expect("a reply has a body");
    assert!(body.remove("extendFields").is_some_and(|fields| fields.is_object()), "{said}");
    let create_time = &mut said["resultBody"]["textData"]["data"]["createTime"];
    let created_ms = create_time.as_u64().expect("createTime is an integer");
    assert!((started_ms..=now_ms()).contains(&created_ms), "createTime {created_ms}");
    *create_time = example["resultBody"]["textData"]["data"]["createTime"].clone();
    said
}

#[test]
fn a_member_joins_as_in_the_example() {
    let started_ms = now_ms();
    let hub = hub(ONE);
    let mut first = hub.connect();
    first.send_json(&join_as(ONE));
    first.recv_json();
    let mut second = hub.connect();
    second.send_json(&example!("request-join"));

    // The first reply has everyone in it.
    let mut example = example!("reply-join");
    assert_eq!(next(&mut second, &example, started_ms), example);
    // What the others see has no `members`: the source's null, which its leave example leaves out.
    let data = example["resultBody"]["textData"]["data"].as_object_mut().expect("data is a Room");
    data.remove("members");
    assert_eq!(next(&mut first, &example, started_ms), example);
}

#[test]
fn a_member_leaves_as_in_the_example() {
    let example = example!("reply-leave");
    // The source shows no request; the dataType is its own, under either of the two msgTypes that could be meant.
    for msg_type in [2, 3] {
        let started_ms = now_ms();
        let hub = hub(TWO);
        let (mut stays, mut leaves) = (hub.connect(), hub.connect());
        stays.send_json(&join_as(TWO));
        stays.recv_json();
        leaves.send_json(&join_as(FOUR));
        leaves.recv_json();
        stays.recv_json();
        let mut request = leave("E00001");
        request["msgType"] = json!(msg_type);
        leaves.send_json(&request);
        assert_eq!(next(&mut stays, &example, started_ms), example);
        assert_eq!(next(&mut leaves, &example, started_ms), example);
    }
}

#[test]
fn a_second_join_is_refused_as_in_the_example() {
    let hub = hub(ONE);
    let mut holder = hub.connect();
    holder.send_json(&join_as(ONE));
    holder.recv_json();
    // From another connection, a second time from there, and from the very connection that holds the seat; a `ref` adds nothing.
    let mut knocks = hub.connect();
    for _ in 0..2 {
        knocks.send_json(&join_as(ONE));
        assert_eq!(knocks.recv_json(), example!("reply-duplicate"));
    }
    holder.send_json(&common::with_ref(join_as(ONE), "again"));
    assert_eq!(holder.recv_json(), example!("reply-duplicate"));
    // The first stays in, and the other may try again once it has left.
    holder.say("still here");
    holder.send_json(&leave("E00001"));
    holder.recv_json();
    knocks.send_json(&join_as(ONE));
    assert_eq!(knocks.recv_json()["status"], 1);
}

#[test]
fn a_heartbeat_is_never_answered() {
    let hub = hub(ONE);
    let mut client = hub.connect();
    for _ in 0..3 {
        client.send_json(&example!("request-heartbeat"));
    }
    // The next thing that comes is the answer to something else.
    client.fence();
    client.send_json(&join_as(TWO));
    assert_eq!(client.recv_json()["msg"], "Join successfully");
    client.send_json(&example!("request-heartbeat"));
    client.fence();
}

#[test]
fn every_request_has_the_skeleton() {
    let skeleton = example!("request-skeleton");
    let mut request = example!("request-join");
    let filled = request["textData"]["data"].take();
    request["msgType"].take();
    request["textData"]["dataType"].take();
    request["textData"]["data"] = json!({});
    assert_eq!(request, skeleton);
    assert!(filled.is_object());

    // Sent as it stands it is no request, and a request without any one of its parts is told which.
    let hub = hub(ONE);
    let mut client = hub.connect();
    client.send_json(&skeleton);
    client.recv_failure("bad_json");
    for part in ["/msgType", "/textData", "/textData/dataType", "/textData/data"] {
        let mut request = example!("request-join");
        request.pointer_mut(part).expect("the example has it").take();
        client.send_json(&request);
        let msg = client.recv_failure("bad_json")["msg"].clone();
        let field = part[1..].replace('/', ".");
        assert!(msg.as_str().is_some_and(|msg| msg.starts_with(&format!("{field}: "))), "{field}: {msg}");
    }
    client.send_json(&example!("request-join"));
    assert_eq!(client.recv_json()["status"], 1);
}

#[test]
fn every_reply_has_the_skeleton() {
    let hub = hub(ONE);
    let mut client = hub.connect();
    client.send_json(&join("E00001", ONE));
    let skeleton = example!("reply-skeleton");
    let mut reply = client.recv_json();
    reply["resultBody"].as_object_mut().expect("a body").remove("extendFields");
    let data = std::mem::replace(&mut reply["resultBody"]["textData"]["data"], json!({}));
    assert!(data.as_object().is_some_and(|data| !data.is_empty()));
    assert_eq!(reply, skeleton);

    // A chat and a leave differ from it in two values alone.
    for (request, msg, data_type) in
        [(common::chat("E00001", "hi"), "Chat successfully", 3), (leave("E00001"), "Leave successfully", 2)]
    {
        client.send_json(&request);
        let mut reply = client.recv_json();
        reply["resultBody"].as_object_mut().expect("a body").remove("extendFields");
        let mut like = skeleton.clone();
        like["msg"] = json!(msg);
        like["resultBody"]["textData"]["dataType"] = json!(data_type);
        like["resultBody"]["textData"]["data"] = reply["resultBody"]["textData"]["data"].clone();
        assert!(like["resultBody"]["textData"]["data"].is_object());
        assert_eq!(reply, like);
    }
}
