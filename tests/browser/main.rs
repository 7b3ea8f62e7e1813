//! The page in a real browser, against the real hub.
//!
//! Owns: a class of a few tabs in headless Chromium that joins, talks, is lied to, loses its hub and
//! finds it again. Refuses to know: how the page does it. What counts is what a pupil would see, found by element id.
//!
//! Without Chromium in the `PATH` the test says so and passes; where `CI` is `true` it fails instead.

mod access;
mod access_point;
mod chromium;
#[path = "../common/mod.rs"]
mod common;
mod lesson;
mod recovery;
#[cfg(feature = "tls")]
mod secure;

use serde_json::json;
use std::net::SocketAddr;

use chromium::{Browser, Tab};
use common::Hub;

/// It has to stay text, in a name and in a message. It fits into the 96 bytes of a name.
const HOSTILE: &str = r#"<img src=x onerror="window.fooled = true"><b>bold</b>"#;

#[test]
fn a_class_talks_and_outlives_its_hub() {
    let Some(mut browser) = Browser::start() else { return };
    let hub = Hub::start("");
    let addr = hub.addr;

    let li = browser.join(addr, "zh", "李小明");
    let anna = browser.join(addr, "en", "Anna");
    for tab in [&li, &anna] {
        browser.until(tab, "members() === '李小明|Anna' && text('count') === '2'");
    }
    browser.until(&li, "text('state').includes('已在房间中') && text('talk').includes('Anna 加入了房间')");
    browser.until(&anna, "text('state').includes('In the room')");
    assert_eq!(browser.eval(&anna, "byId('members').querySelector('.me bdi').textContent"), "Anna");

    browser.say(&li, "同学们好！");
    browser.say(&anna, "Good morning,\n李小明");
    for tab in [&li, &anna] {
        browser.until(tab, "said('李小明').includes('同学们好！')");
        browser.until(tab, "said('Anna').includes('Good morning,\\n李小明')");
    }

    a_stranger_stays_text(&mut browser, addr, &[&li, &anna]);
    a_second_self_is_refused(&mut browser, addr, &anna);
    browser.say(&li, "我们继续");
    for tab in [&li, &anna] {
        browser.until(tab, "said('李小明').includes('我们继续')");
    }
    assert_eq!(browser.complaints, Vec::<String>::new());

    // The hub is killed, not stopped, and another one takes its place.
    drop(hub);
    for tab in [&li, &anna] {
        browser.until(tab, "['waiting', 'connecting'].includes(state())");
    }
    let _hub = Hub::start(&format!("listen = [\"{addr}\"]"));
    for tab in [&li, &anna] {
        browser.until(tab, "state() === 'joined' && text('count') === '2'");
        browser.until(tab, "members().split('|').sort().join() === 'Anna,李小明'");
    }
    browser.say(&anna, "There you are");
    browser.say(&li, "我回来了");
    for tab in [&li, &anna] {
        browser.until(tab, "said('Anna').includes('There you are') && said('李小明').includes('我回来了')");
        // What was said before is still there to be read.
        browser.until(tab, "said('李小明').includes('我们继续')");
    }

    // While there was no hub, the browser itself said that it found none. Nothing else went wrong.
    let expected = format!("WebSocket connection to 'ws://{addr}/ws' failed");
    let mut complaints = std::mem::take(&mut browser.complaints);
    complaints.retain(|complaint| !complaint.starts_with(&expected));
    assert_eq!(complaints, Vec::<String>::new());
}

#[test]
fn a_room_that_is_renamed_in_mid_lesson_is_called_so_at_once() {
    let Some(mut browser) = Browser::start() else { return };
    let hub = Hub::start("");
    let li = browser.join(hub.addr, "zh", "李小明");
    browser.until(&li, "text('title') === 'E00001'");
    hub.reload_with("[[room]]\nnumber = \"E00001\"\nname = \"<b>三年级二班</b>\"\n");
    browser.until(&li, "text('title') === '<b>三年级二班</b>' && document.title.includes('三年级二班')");
    let anna = browser.join(hub.addr, "en", "Anna");
    browser.until(&anna, "text('title') === '<b>三年级二班</b>'");
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// Somebody whose name and words are markup is shown as just that, comes and goes.
fn a_stranger_stays_text(browser: &mut Browser, addr: SocketAddr, class: &[&Tab]) {
    let stranger = browser.join(addr, "en", HOSTILE);
    browser.say(&stranger, HOSTILE);
    let hostile = json!(HOSTILE);
    for tab in class.iter().copied().chain([&stranger]) {
        browser.until(tab, &format!("members().split('|')[2] === {hostile}"));
        browser.until(tab, &format!("said({hostile}).includes({hostile})"));
        assert_eq!(browser.eval(tab, "document.querySelectorAll('img, b').length"), 0);
        assert_eq!(browser.eval(tab, "typeof window.fooled"), "undefined");
    }
    browser.eval(&stranger, "byId('leave').click()");
    browser.until(&stranger, "state() === 'out' && !byId('enter').hidden && byId('inside').hidden");
    for tab in class {
        browser.until(tab, "text('count') === '2' && byId('talk').lastElementChild.className === 'note'");
    }
    browser.close(stranger);
}

/// A copied tab shows the hub's refusal, and gets in on the same connection once the first has left.
fn a_second_self_is_refused(browser: &mut Browser, addr: SocketAddr, first: &Tab) {
    let copy = browser.open_beside(first);
    browser.fill_in(addr, &copy, "en", "Anna");
    browser.until(&copy, "state() === 'refused' && text('notice-hub').includes('您已在其他页面或客户端加入该房间')");
    // The page explains it only where it knew the words for what they are.
    browser.until(&copy, "!byId('notice-words').hidden && !byId('retry').hidden");

    browser.eval(first, "byId('leave').click()");
    browser.until(first, "state() === 'out'");
    browser.eval(&copy, "byId('retry').click()");
    browser.until(&copy, "state() === 'joined' && byId('notice').hidden");

    browser.eval(&copy, "byId('leave').click()");
    browser.close(copy);
    browser.eval(first, "byId('join').click()");
    browser.until(first, "state() === 'joined' && text('count') === '2'");
}

/// The page checks lengths before the hub has to, so it had better mean the hub's.
#[test]
fn the_page_knows_the_limits_of_the_hub() {
    use classhub::{limits, page};
    for (path, name, value) in [
        ("/app.js", "NAME_BYTES", limits::NAME_BYTES),
        ("/app.js", "ROOM_BYTES", limits::ID_BYTES),
        ("/hub.js", "MESSAGE_BYTES", limits::MESSAGE_BYTES.default as usize),
    ] {
        let script = page::find(path).expect("the page has its scripts").body;
        let line = format!("const {name} = {value};");
        assert!(String::from_utf8_lossy(script).contains(&line), "{path} lacks {line}");
    }
}
