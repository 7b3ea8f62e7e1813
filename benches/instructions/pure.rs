//! What is counted: one call of each, with all that it takes made ready before.
//!
//! Owns: where each count begins and ends. Refuses to know: what it was before (`counts.txt`, `.ci/instructions`).

use std::hint::black_box;

use classhub::base::Wheel;
use classhub::net::conn::{Conn, Decoders, Received};
use classhub::net::http::{Asker, Route, Site, route};
use classhub::wire::request::Envelope;
use classhub_instructions::{Class, HEAD, Silent, chat, due_ms, join, spoken, vote, wheel};
use gungraun::prelude::*;

type Spoken = (Conn<Silent>, Decoders, Vec<u8>);

// Whatever a part takes or makes is handed back, so that letting go of it is not counted.

#[library_benchmark]
#[bench::chat(chat())]
#[bench::vote(vote())]
#[bench::join(join(17))]
#[bench::heartbeat(r#"{"msgType":1}"#.to_owned())]
#[bench::wrong(r#"{"msgType":3,"textData":{"dataType":3,"data":["E00001","hi"]}}"#.to_owned())]
fn decode(text: String) -> (bool, String) {
    (black_box(Envelope::read(black_box(&text))).request.is_ok(), text)
}

#[library_benchmark]
#[bench::chat(spoken(&chat()))]
fn frame((mut conn, mut decoders, frame): Spoken) -> (Option<Received>, Spoken) {
    (black_box(conn.next(&mut black_box(&frame[..]), &mut decoders)), (conn, decoders, frame))
}

// A thousand, so that what the log does only now and then has its share.
#[library_benchmark]
#[bench::to_64((Class::of(64), chat()))]
fn thousand_chats((mut class, chat): (Class, String)) -> (Class, String) {
    for n in 0..1_000 {
        class.turn(n % 64, black_box(&chat));
    }
    (class, chat)
}

#[library_benchmark]
#[bench::number_500((Class::of(499), join(499)))]
fn join_room((mut class, join): (Class, String)) -> (Class, String) {
    class.join(black_box(&join), 499);
    assert_eq!(class.members(), 500);
    (class, join)
}

// Each timer pops once and is set anew.
#[library_benchmark]
#[bench::of_4096(wheel(4096))]
fn wheel_turn(mut wheel: Wheel) -> (u32, Wheel) {
    let mut popped = 0;
    for now_ms in (0..130_000).step_by(500) {
        while let Some(timer) = wheel.pop(black_box(now_ms)) {
            popped += 1;
            wheel.set(timer, 130_000 + due_ms(timer));
        }
    }
    assert_eq!(popped, 4096);
    (popped, wheel)
}

fn site() -> Site {
    Site { bound: vec!["0.0.0.0:9000".parse().expect("an address")], ..Site::default() }
}

#[library_benchmark]
#[bench::upgrade(site())]
fn head(site: Site) -> (Route, Site) {
    let asker = Asker { address: [192, 168, 1, 77].into(), metrics: &String::new };
    let route = route(black_box(HEAD.as_bytes()), &site, &asker);
    assert!(matches!(route, Route::Upgrade(_)));
    (route, site)
}

library_benchmark_group!(name = pure, benchmarks = [decode, frame, thousand_chats, join_room, wheel_turn, head]);
main!(library_benchmark_groups = pure);
