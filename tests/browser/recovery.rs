//! A page whose Wi-Fi drops.
//!
//! Owns: what a pupil sees of it, and what the class does not. Refuses to know: tokens and numbers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::access_point::{AccessPoint, Fades};
use crate::chromium::{Browser, Tab};
use crate::common::{Client, Hub, ROOM, data, join};

/// Two in a room: Li at the hub's own address, and Anna behind an access point.
struct Scene {
    hub: Hub,
    air: AccessPoint,
    browser: Browser,
    li: Tab,
    anna: Tab,
}

impl Scene {
    fn with(toml: &str) -> Option<Scene> {
        let mut browser = Browser::start()?;
        let hub = Hub::start(toml);
        let air = AccessPoint::before(hub.addr);
        let li = browser.join(hub.addr, "zh", "Li");
        let anna = browser.join(air.addr, "en", "Anna");
        browser.until(&li, "members() === 'Li|Anna'");
        Some(Scene { hub, air, browser, li, anna })
    }

    /// Both see the same talk of the two, these in this order, and each once.
    fn all_have(&mut self, li: &[&str], anna: &[&str]) {
        for tab in [&self.li, &self.anna] {
            for (name, said) in [("Li", li), ("Anna", anna)] {
                let said = json!(said).to_string();
                self.browser.until(tab, &format!("JSON.stringify(said('{name}')) === {}", json!(said)));
            }
        }
    }

    fn away(&mut self) {
        self.air.turn_off();
        self.browser.until(&self.anna, "['waiting', 'connecting'].includes(state())");
    }

    fn back(&mut self) {
        self.air.turn_on();
        self.browser.until(&self.anna, "state() === 'joined' && byId('waiting').hidden");
    }

    /// What Li's page says of comings and goings.
    fn notes(&mut self) -> Value {
        self.browser.eval(&self.li, "document.querySelectorAll('#talk .note').length")
    }
}

#[test]
fn what_was_missed_comes_and_what_was_typed_goes_out_once_in_order() {
    let Some(mut scene) = Scene::with("[heartbeat]\nlinger_s = 60\n") else { return };
    scene.browser.say(&scene.anna, "before");
    scene.all_have(&[], &["before"]);
    let notes = scene.notes();
    for round in 0..2 {
        scene.away();
        for n in ["one", "two", "three"] {
            scene.browser.say(&scene.li, &format!("{n} of Li {round}"));
            scene.browser.say(&scene.anna, &format!("{n} of Anna {round}"));
        }
        // It is plain that these are not in the room yet.
        scene.browser.until(&scene.anna, "byId('waiting').children.length === 3 && !byId('waiting-words').hidden");
        assert_eq!(scene.browser.eval(&scene.anna, "byId('waiting').textContent.includes('two of Anna')"), true);
        scene.back();
    }
    let of_li: Vec<String> =
        (0..2).flat_map(|round| ["one", "two", "three"].map(|n| format!("{n} of Li {round}"))).collect();
    let of_anna: Vec<String> =
        (0..2).flat_map(|round| ["one", "two", "three"].map(|n| format!("{n} of Anna {round}"))).collect();
    let of_li: Vec<&str> = of_li.iter().map(String::as_str).collect();
    let of_anna: Vec<&str> = ["before"].into_iter().chain(of_anna.iter().map(String::as_str)).collect();
    scene.all_have(&of_li, &of_anna);
    // The class saw nothing of it, and Anna no gap.
    assert_eq!(scene.notes(), notes);
    assert_eq!(scene.browser.eval(&scene.anna, "text('talk').includes('missing')"), false);
    // Li knows that all of it has arrived, also of what was said while Anna was away; Anna of the last at least: what arrives while the author is away
    // is told to nobody.
    scene.browser.until(
        &scene.li,
        "[...document.querySelectorAll('.said.mine .receipts')].every(e => e.textContent === '1 人中 1 人已收到')",
    );
    scene.browser.until(
        &scene.anna,
        "[...document.querySelectorAll('.said.mine .receipts')].pop().textContent === 'received by 1 of 1'",
    );
}

#[test]
fn what_was_on_its_way_is_neither_lost_nor_doubled() {
    let Some(mut scene) = Scene::with("[heartbeat]\nlinger_s = 60\n") else { return };
    let notes = scene.notes();
    // It never reached the hub; then it did, but the page does not know.
    scene.air.fade(Fades { to_hub: true, to_page: true });
    scene.browser.say(&scene.anna, "into the void");
    scene.browser.until(&scene.anna, "byId('waiting').children.length === 1");
    scene.away();
    scene.back();
    scene.all_have(&[], &["into the void"]);
    scene.air.fade(Fades { to_hub: false, to_page: true });
    scene.browser.say(&scene.anna, "echo lost");
    scene.browser.until(&scene.li, "said('Anna').length === 2");
    scene.browser.until(&scene.anna, "byId('waiting').children.length === 1");
    scene.away();
    scene.back();
    scene.browser.say(&scene.anna, "after");
    scene.all_have(&[], &["into the void", "echo lost", "after"]);
    assert_eq!(scene.notes(), notes);
}

#[test]
fn a_page_that_wakes_up_finds_out_that_its_connection_is_dead() {
    let Some(mut scene) = Scene::with("") else { return };
    let notes = scene.notes();
    scene.air.fade(Fades { to_hub: true, to_page: true });
    scene.browser.say(&scene.li, "while Anna slept");
    // Neither the hub nor the page has been told of anything. The page asks, and takes its seat over from itself.
    scene.browser.eval(&scene.anna, "dispatchEvent(new Event('online'))");
    scene.all_have(&["while Anna slept"], &[]);
    scene.browser.say(&scene.anna, "good morning");
    scene.all_have(&["while Anna slept"], &["good morning"]);
    assert_eq!(scene.notes(), notes);
}

/// A page has a second to be back once it has a network, told by what it waits for: how fast the machine is else says nothing of the page.
#[test]
fn a_page_whose_network_is_another_is_back_within_a_second() {
    let Some(mut scene) = Scene::with("") else { return };
    let notes = scene.notes();
    scene.air.fade(Fades { to_hub: true, to_page: true });
    scene.browser.say(&scene.li, "while Anna walked");
    scene.browser.until(&scene.li, "said('Li').length === 1");
    scene.browser.eval(
        &scene.anna,
        "window.waited = []; { const set = setTimeout; window.setTimeout = (then, ms) => {
            const isOfConnection = /attempt|broken/.test(String(then));
            return set(() => { if (isOfConnection) { waited.push(ms); } then(); }, ms);
        }; }",
    );
    // It is told that there is none, asks its dead connection in vain, and is told that there is one.
    scene.browser.eval(&scene.anna, "dispatchEvent(new Event('offline'))");
    scene.browser.eval(&scene.anna, "dispatchEvent(new Event('online'))");
    scene.all_have(&["while Anna walked"], &[]);
    let waited = scene.browser.eval(&scene.anna, "waited");
    let waited: Vec<f64> = waited.as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    // For an answer, and before the next try.
    assert_eq!(waited.len(), 2, "{waited:?}");
    assert!(waited.iter().sum::<f64>() < 1000.0, "{waited:?}");
    assert_eq!(scene.notes(), notes);
}

/// A try that hangs in the old network does not keep the page from the new one: it is given up at once, not after its ten seconds.
#[test]
fn a_try_that_hangs_is_given_up_for_a_new_network() {
    let Some(mut scene) = Scene::with("[heartbeat]\nlinger_s = 60\n") else { return };
    scene.away();
    scene.air.hold(true);
    scene.air.turn_on();
    // Its request for the seat is on its way, and stays there.
    scene.browser.until(&scene.anna, "state() === 'connecting'");
    scene.browser.say(&scene.li, "missed");
    scene.browser.eval(&scene.anna, "window.sockets = 0; window.WebSocket = new Proxy(WebSocket, { construct: (of, args) => (sockets += 1, Reflect.construct(of, args)) })");
    scene.browser.until(&scene.anna, "state() === 'connecting'");
    scene.air.hold(false);
    scene.browser.eval(&scene.anna, "dispatchEvent(new Event('online'))");
    assert_eq!(scene.browser.eval(&scene.anna, "sockets"), 1, "a new try at once");
    scene.all_have(&["missed"], &[]);
}

/// A request for the seat that comes late takes it from the page's own next connection. Nobody else has it: the page takes it back, and the class sees
/// nothing.
#[test]
fn a_page_is_not_locked_out_by_its_own_late_join() {
    let Some(mut scene) = Scene::with("[heartbeat]\nlinger_s = 60\n") else { return };
    let notes = scene.notes();
    scene.away();
    scene.air.hold(true);
    scene.air.turn_on();
    scene.browser.until(&scene.anna, "state() === 'connecting'");
    // Long enough for the request head to have come, so that it is the join that is late.
    std::thread::sleep(Duration::from_millis(300));
    scene.air.hold(false);
    scene.browser.eval(&scene.anna, "dispatchEvent(new Event('online'))");
    scene.browser.until(&scene.anna, "state() === 'joined'");
    scene.browser.say(&scene.anna, "back");
    scene.all_have(&[], &["back"]);
    scene.air.let_go();
    // It loses its seat to itself, and has it again.
    scene.browser.eval(&scene.anna, "window.lost = false; new MutationObserver(() => { lost = lost || state() !== 'joined'; }).observe(byId('state'), { attributes: true })");
    scene.browser.until(&scene.anna, "lost && state() === 'joined'");
    scene.browser.say(&scene.li, "still here?");
    scene.browser.say(&scene.anna, "still here");
    scene.all_have(&["still here?"], &["back", "still here"]);
    assert_eq!(scene.notes(), notes);
}

/// Tries come further and further apart, to eight seconds, and no two pages wait alike. Told by what the page asks its clock for, which here is
/// never kept waiting.
#[test]
fn tries_back_off_and_are_not_in_step() {
    let Some(mut scene) = Scene::with("") else { return };
    scene.browser.eval(
        &scene.anna,
        "window.waits = []; { const set = setTimeout; window.setTimeout = (then, ms) => {
            const isTry = ms >= 125 && ms <= 8000 && String(then).startsWith('function attempt');
            if (isTry) { waits.push(ms); }
            return set(then, isTry ? 1 : ms);
        }; }",
    );
    scene.air.turn_off();
    scene.browser.until(&scene.anna, "waits.length >= 14");
    let waits = scene.browser.eval(&scene.anna, "waits");
    let waits: Vec<f64> = waits.as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    for (n, wait) in waits.iter().enumerate() {
        let most = (250.0 * 2f64.powi(n as i32)).min(8000.0);
        assert!((most / 2.0..=most).contains(wait), "try {n}: {waits:?}");
    }
    let last = &waits[6..];
    assert!(last.iter().any(|wait| (wait - last[0]).abs() > 100.0), "all alike: {waits:?}");
}

/// The browser says that there is a network again, or somebody looks at the page: that is worth a try at once.
#[test]
fn a_page_that_is_looked_at_does_not_wait() {
    for event in ["dispatchEvent(new Event('online'))", "document.dispatchEvent(new Event('visibilitychange'))"] {
        let Some(mut scene) = Scene::with("[heartbeat]\nlinger_s = 60\n") else { return };
        // The page's own next try is as good as never.
        scene.browser.eval(
            &scene.anna,
            "{ const set = setTimeout; window.setTimeout = (then, ms) =>
                set(then, String(then).startsWith('function attempt') ? 1e9 : ms); }",
        );
        scene.away();
        scene.air.turn_on();
        scene.browser.eval(&scene.anna, event);
        scene.browser.until(&scene.anna, "state() === 'joined'");
        // And where it is joined already, it asks whether it still is.
        scene.air.fade(Fades { to_hub: true, to_page: true });
        scene.browser.say(&scene.li, "asleep?");
        scene.browser.until(&scene.li, "said('Li').length === 1");
        scene.browser.eval(&scene.anna, event);
        scene.browser.until(&scene.anna, "state() !== 'joined'");
    }
}

/// Where nothing is replayed, nobody can say whether what was on its way arrived: it is given back, and goes out again only if somebody sends it.
#[test]
fn what_was_on_its_way_at_a_gap_is_given_back() {
    let Some(mut scene) = Scene::with("[heartbeat]\nlinger_s = 60\n[rooms]\nhistory = 2\n") else { return };
    scene.air.fade(Fades { to_hub: false, to_page: true });
    scene.browser.say(&scene.anna, "did it arrive?");
    scene.browser.until(&scene.li, "said('Anna').length === 1");
    scene.browser.say(&scene.anna, "and this did not");
    scene.away();
    for n in 0..4 {
        scene.browser.say(&scene.li, &format!("missed {n}"));
    }
    scene.browser.until(&scene.li, "said('Li').length === 4");
    scene.back();
    scene.browser.until(&scene.anna, "byId('text').value === 'did it arrive?' && text('problem') !== ''");
    scene.browser.until(&scene.li, "said('Anna').join() === 'did it arrive?,and this did not'");
}

const HANDS: &str = "[...byId('hands').querySelectorAll('bdi')].map(e => e.textContent).join('|')";
const VOTES: &str = "[...document.querySelectorAll('#poll .votes')].map(e => parseInt(e.textContent)).join('|')";

/// Li opens a poll of three choices, and each of these votes.
fn they_vote(scene: &mut Scene, votes: [(&'static str, u32); 2]) {
    scene.browser.click(&scene.li, "byId('poll-open')");
    scene.browser.write(&scene.li, "poll-question", "?");
    scene.browser.write(&scene.li, "poll-choices", "a\nb\nc");
    scene.browser.click(&scene.li, "byId('poll-ask')");
    for (name, choice) in votes {
        let tab = if name == "Li" { &scene.li } else { &scene.anna };
        scene.browser.click(tab, &format!("document.querySelectorAll('#poll button.vote')[{choice}]"));
    }
}

/// The hub keeps neither hands nor polls: who had a gap asks, and everybody says again what is so, in its order.
#[test]
fn hands_and_polls_are_right_after_a_gap() {
    let Some(mut scene) = Scene::with("[heartbeat]\nlinger_s = 60\n[rooms]\nhistory = 2\n") else { return };
    let bert = scene.browser.join(scene.hub.addr, "en", "Bert");
    for tab in [&scene.anna, &bert] {
        scene.browser.click(tab, "byId('hand')");
        scene.browser.until(tab, "byId('hand').getAttribute('aria-pressed') === 'true'");
        scene.browser.until(&scene.li, &format!("{HANDS}.endsWith(text('hands').includes('Bert') ? 'Bert' : 'Anna')"));
    }
    they_vote(&mut scene, [("Li", 1), ("Anna", 2)]);
    for tab in [&scene.li, &scene.anna] {
        scene.browser.until(tab, &format!("{VOTES} === '0|1|1' && {HANDS} === 'Anna|Bert'"));
    }
    scene.away();
    // Meanwhile one hand goes down and another up, one vote is changed and one is new, and more is said than the hub keeps.
    scene.browser.click(&bert, "byId('hand')");
    scene.browser.click(&scene.li, "byId('hand')");
    scene.browser.click(&scene.li, "document.querySelectorAll('#poll button.vote')[0]");
    scene.browser.click(&bert, "document.querySelectorAll('#poll button.vote')[0]");
    scene.browser.until(&scene.li, &format!("{VOTES} === '2|0|1' && {HANDS} === 'Anna|Li'"));
    for n in 0..4 {
        scene.browser.say(&scene.li, &format!("missed {n}"));
    }
    scene.browser.until(&scene.li, "said('Li').length === 4");
    scene.back();
    scene.browser.until(&scene.anna, "text('talk').includes('Some messages are missing here')");
    for tab in [&scene.anna, &scene.li, &bert] {
        scene.browser.until(tab, &format!("{VOTES} === '2|0|1' && {HANDS} === 'Anna|Li'"));
    }
    // The same for a page that is loaded again, and has nothing but what its browser kept.
    scene.browser.reload(&scene.anna);
    scene.browser.until(&scene.anna, "state() === 'joined'");
    for tab in [&scene.anna, &scene.li, &bert] {
        scene.browser.until(tab, &format!("{VOTES} === '2|0|1' && {HANDS} === 'Anna|Li'"));
    }
    assert_eq!(scene.browser.eval(&scene.anna, "byId('hand').getAttribute('aria-pressed')"), "true");
}

/// A hub that is started again knows nothing of the room: its people bring it all with them.
#[test]
fn hands_and_polls_outlive_the_hub() {
    let Some(mut scene) = Scene::with("") else { return };
    scene.browser.click(&scene.anna, "byId('hand')");
    they_vote(&mut scene, [("Li", 0), ("Anna", 0)]);
    for tab in [&scene.li, &scene.anna] {
        scene.browser.until(tab, &format!("{VOTES} === '2|0|0' && {HANDS} === 'Anna'"));
    }
    let addr = scene.hub.addr;
    drop(scene.hub);
    scene.browser.until(&scene.li, "state() !== 'joined'");
    let _hub = Hub::start(&format!("listen = [\"{addr}\"]"));
    for tab in [&scene.li, &scene.anna] {
        scene.browser.until(tab, "state() === 'joined' && text('count') === '2'");
        scene.browser.until(tab, &format!("{VOTES} === '2|0|0' && {HANDS} === 'Anna'"));
    }
}

#[test]
fn a_message_is_received_by_so_many_of_all() {
    let Some(mut scene) = Scene::with("") else { return };
    // One more who is there, and acknowledges nothing.
    let mut silent = Client::connect(scene.hub.addr);
    silent.join(ROOM, "silent");
    scene.browser.until(&scene.anna, "text('count') === '3'");
    scene.browser.say(&scene.anna, "who has it?");
    let count = "[...document.querySelectorAll('.said.mine .receipts')].pop().textContent";
    scene.browser.until(&scene.anna, &format!("{count} === 'received by 1 of 2'"));
}

#[test]
fn a_gap_is_shown_where_one_is() {
    let Some(mut scene) = Scene::with("[heartbeat]\nlinger_s = 60\n[rooms]\nhistory = 2\n") else { return };
    scene.browser.say(&scene.anna, "before");
    scene.all_have(&[], &["before"]);
    scene.away();
    for n in 0..4 {
        scene.browser.say(&scene.li, &format!("missed {n}"));
    }
    scene.browser.until(&scene.li, "said('Li').length === 4");
    scene.browser.say(&scene.anna, "typed while away");
    scene.back();
    scene.browser.until(&scene.anna, "text('talk').includes('Some messages are missing here')");
    scene.browser.until(&scene.anna, "said('Anna').join() === 'before,typed while away' && said('Li').length === 0");
    scene.browser.until(&scene.li, "said('Anna').join() === 'before,typed while away'");
    assert_eq!(scene.browser.eval(&scene.anna, "members()"), "Li|Anna");
}

#[test]
fn a_page_that_stayed_away_too_long_sees_itself_leave_and_come_and_misses_nothing() {
    let Some(mut scene) = Scene::with("[heartbeat]\nlinger_s = 1\n") else { return };
    scene.away();
    scene.browser.until(&scene.li, "text('talk').includes('Anna 断线了')");
    scene.browser.say(&scene.li, "anybody there?");
    scene.browser.until(&scene.li, "said('Li').length === 1");
    scene.back();
    scene.all_have(&["anybody there?"], &[]);
    scene.browser.until(&scene.li, "members() === 'Li|Anna'");
    scene.browser.until(&scene.anna, "members() === 'Li|Anna' && text('talk').includes('Anna lost the connection')");
    assert_eq!(scene.browser.eval(&scene.anna, "byId('members').querySelectorAll('.me').length"), 1);
}

#[test]
fn a_seat_that_another_has_taken_is_said_to_be_and_can_be_had_back() {
    let Some(mut scene) = Scene::with("") else { return };
    let id = scene.browser.eval(&scene.anna, "JSON.parse(localStorage.getItem('classhub.id'))");
    let token = scene.browser.eval(&scene.anna, "JSON.parse(sessionStorage.getItem('classhub.room.E00001')).token");
    let mut other = Client::connect(scene.hub.addr);
    let mut request = join(ROOM, id.as_str().expect("the page has an id"));
    request["extendFields"] = json!({"resumeToken": token});
    other.send_json(&request);
    assert_eq!(data(&other.recv_json())["members"].as_array().map(Vec::len), Some(2));
    scene.browser.until(&scene.anna, "state() === 'closed' && text('notice-words').includes('another page or app')");
    // A page that is loaded again has its seat at once, whoever has it now: it has its token.
    scene.browser.eval(&scene.anna, "byId('retry').click()");
    scene.browser.until(&scene.anna, "state() === 'joined' && byId('notice').hidden");
    other.expect_close(4001);
    scene.browser.eval(&scene.anna, "location.reload()");
    scene.browser.until(&scene.anna, "state() === 'joined' && members() === 'Li|Anna'");
    assert_eq!(scene.browser.eval(&scene.li, "document.querySelectorAll('#talk .note').length"), 2);
}

#[test]
fn what_is_too_much_at_once_goes_out_at_the_hubs_pace() {
    let Some(mut scene) = Scene::with("") else { return };
    scene.away();
    // 90 KiB, where the hub takes 64 at once and 32 a second.
    let long: Vec<String> = (0..6).map(|n| format!("{n} {}", "x".repeat(15 * 1024))).collect();
    for text in &long {
        scene.browser.say(&scene.anna, text);
    }
    scene.back();
    let long: Vec<&str> = long.iter().map(String::as_str).collect();
    scene.all_have(&[], &long);
    assert_eq!(scene.browser.eval(&scene.anna, "text('problem')"), "");
}
