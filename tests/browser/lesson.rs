//! A lesson: a teacher and two pupils, from the projector's page to the list that the teacher takes home.
//!
//! Owns: what a class does on the page, what each of them sees of it, and that nothing is asked for elsewhere. Refuses to know: the wire, and what
//! happens when the network does not hold (`recovery.rs`).

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::chromium::{Browser, Tab};
use crate::common::{Client, Hub, ROOM, Raw, data, join, said};

/// A button of a member's row, by that member's name.
fn tool_of(name: &str, tool: &str) -> String {
    let item =
        format!("[...byId('members').children].find(li => li.querySelector('bdi.name').textContent === '{name}')");
    format!("{item} && {item}.querySelector('{tool}')")
}

const HANDS: &str = "[...byId('hands').querySelectorAll('bdi')].map(e => e.textContent).join('|')";
/// What the newest poll comes to, a choice each.
const VOTES: &str = "[...document.querySelectorAll('#poll .votes')].map(e => parseInt(e.textContent)).join('|')";

#[test]
fn a_lesson_from_the_code_on_the_wall_to_the_list_of_who_was_there() {
    let Some(mut browser) = Browser::start() else { return };
    let hub = Hub::start("");
    let teacher = browser.join(hub.addr, "en", "Ms Wang");
    browser.until(&teacher, "text('members').includes('teacher') && !byId('tools').hidden");

    let way_in = the_way_in(&mut browser, hub.addr, &teacher);
    let [li, anna] = [("zh", "李小明", "7"), ("en", "Anna", "")].map(|(language, name, number)| {
        let tab = browser.open_empty();
        browser.go(&tab, &way_in);
        browser.until(&tab, "byId('room').value === 'E00001'");
        browser.speak(&tab, language);
        browser.write(&tab, "name", name);
        browser.write(&tab, "number", number);
        browser.press(&tab, "Enter");
        browser.until(&tab, "state() === 'joined'");
        tab
    });
    for tab in [&teacher, &li, &anna] {
        browser.until(tab, "members() === 'Ms Wang|李小明|Anna' && text('count') === '3'");
    }
    // Only the owner has the keys, and only in its own hands.
    assert_eq!(browser.eval(&li, "byId('tools').hidden && !document.querySelector('#members .remove')"), true);
    browser.until(&teacher, "document.querySelectorAll('#members .remove').length === 2");

    they_talk(&mut browser, &[&teacher, &li, &anna]);
    they_raise_hands(&mut browser, &teacher, &li, &anna);
    they_vote(&mut browser, hub.addr, &teacher, &li, &anna);
    the_room_is_locked(&mut browser, hub.addr, &teacher, &li);
    the_room_is_quiet(&mut browser, &teacher, &anna);
    somebody_is_removed(&mut browser, &teacher, &li, &anna);
    the_teacher_reloads(&mut browser, &teacher, &li);
    who_was_there(&mut browser, &teacher);

    assert_eq!(browser.complaints, Vec::<String>::new());
    let own = [format!("http://{}/", hub.addr), format!("ws://{}/ws", hub.addr), format!("blob:http://{}/", hub.addr)];
    let foreign = |url: &&String| !own.iter().any(|own| url.starts_with(own)) && *url != "about:blank";
    assert_eq!(browser.requests.iter().filter(foreign).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// The projector's page, reached from the teacher's: what it shows is where its code leads, which is where the class goes.
fn the_way_in(browser: &mut Browser, addr: SocketAddr, teacher: &Tab) -> String {
    let link = browser.eval(teacher, "byId('invite').href");
    assert_eq!(link, format!("http://{addr}/join?room={ROOM}"));
    let wall = browser.open_empty();
    browser.go(&wall, link.as_str().expect("a link has an address"));
    let shown = format!("document.body.textContent.includes('{addr}') && document.body.textContent.includes('{ROOM}')");
    browser.until(&wall, &shown);
    browser.until(&wall, "byId('qr').complete && byId('qr').naturalWidth > 0");
    let way_in = format!("http://{addr}/?room={ROOM}");
    assert_eq!(browser.eval(&wall, "byId('qr').alt.includes(location.origin + '/?room=E00001')"), true);
    // The picture is the code of that very address.
    let svg = browser.eval_async(&wall, "fetch(byId('qr').src).then(answer => answer.text())");
    let code = classhub::page::qr::Qr::of(&way_in).expect("it fits into a code");
    assert_eq!(svg, code.svg());
    // Numbers stand beside a name, for whatever finds none; here nobody else is let in, and the address is a number itself.
    let urls = browser.eval_async(&wall, "fetch('/addresses.json').then(answer => answer.json())");
    assert_eq!(urls, json!({"urls": [format!("http://{addr}")]}));
    browser.close(wall);
    way_in
}

fn they_talk(browser: &mut Browser, class: &[&Tab; 3]) {
    browser.say(class[0], "Good morning! We read http://example.org/ today.");
    browser.say(class[1], "老师好");
    for tab in class {
        browser.until(tab, "said('Ms Wang').join() === 'Good morning! We read http://example.org/ today.'");
        browser.until(tab, "said('李小明').join() === '老师好'");
        assert_eq!(browser.eval(tab, "document.querySelectorAll('#talk a').length"), 0);
    }
    // One's own is on the right, and says who has it.
    let right = "(e => e.getBoundingClientRect().right > innerWidth - 100)(document.querySelector('.said.mine p'))";
    assert_eq!(browser.eval(class[0], right), true);
    browser.until(class[0], "document.querySelector('.said.mine .receipts').textContent === 'received by 2 of 2'");
    browser.until(class[1], "document.querySelector('.said.mine .receipts').textContent === '2 人中 2 人已收到'");
}

fn they_raise_hands(browser: &mut Browser, teacher: &Tab, li: &Tab, anna: &Tab) {
    browser.click(anna, "byId('hand')");
    browser.until(teacher, &format!("{HANDS} === 'Anna'"));
    browser.click(li, "byId('hand')");
    for tab in [teacher, li, anna] {
        browser.until(tab, &format!("{HANDS} === 'Anna|李小明'"));
    }
    assert_eq!(browser.eval(anna, "byId('hand').getAttribute('aria-pressed')"), "true");
    browser.click(anna, "byId('hand')");
    browser.until(teacher, &format!("{HANDS} === '李小明'"));
    browser.click(anna, "byId('hand')");
    browser.until(teacher, &format!("{HANDS} === '李小明|Anna'"));
}

/// A poll, for who is there and for who comes later; who changes its mind counts once.
fn they_vote(browser: &mut Browser, addr: SocketAddr, teacher: &Tab, li: &Tab, anna: &Tab) {
    browser.click(teacher, "byId('poll-open')");
    browser.write(teacher, "poll-question", "下课了吗?");
    browser.write(teacher, "poll-choices", "是\n不是\nPerhaps");
    browser.click(teacher, "byId('poll-ask')");
    for (tab, choice) in [(li, 0), (anna, 2), (anna, 1)] {
        browser.click(tab, &format!("document.querySelectorAll('#poll button.vote')[{choice}]"));
        browser.until(
            tab,
            &format!("!!document.querySelectorAll('#poll button.vote')[{choice}].matches('[aria-pressed=true]')"),
        );
    }
    for tab in [teacher, li, anna] {
        browser.until(tab, &format!("{VOTES} === '1|1|0'"));
        browser.until(tab, "document.querySelector('#poll h2').textContent === '下课了吗?'");
    }
    take_pictures(browser, teacher, li);
    let late = browser.join(addr, "en", "Late");
    browser.until(&late, &format!("{VOTES} === '1|1|0' && {HANDS} === '李小明|Anna'"));
    // Where anybody else closes it, it stays open.
    let poll = browser.eval(teacher, "byId('poll').dataset.id");
    let mut mallory = Client::connect(addr);
    mallory.join(ROOM, "mallory");
    mallory.send_json(&said(101, ROOM, json!({"id": poll, "open": false})));
    mallory.send_json(&said(101, ROOM, json!({"id": poll, "vote": 7})));
    mallory.send_json(&said(101, ROOM, json!({"id": poll, "vote": "1"})));
    mallory.send_json(&said(101, ROOM, json!([{"id": poll}])));
    mallory.send_json(&said(100, ROOM, json!("up")));
    mallory.send_json(&said(101, ROOM, json!({"id": poll, "vote": 2})));
    browser.until(teacher, &format!("{VOTES} === '1|1|1' && {HANDS} === '李小明|Anna'"));
    mallory.send(&Raw::close(1000));
    mallory.recv_to_close(1000);
    browser.close(late);
    browser.until(teacher, "members() === 'Ms Wang|李小明|Anna'");
    // Whoever leaves takes the vote along; what it came to at its end stays.
    browser.until(teacher, &format!("{VOTES} === '1|1|0'"));
    browser.click(teacher, "document.querySelector('#poll .under button')");
    for tab in [teacher, li, anna] {
        browser.until(tab, "document.querySelector('#poll.closed') && !document.querySelector('#poll button.vote')");
        assert_eq!(browser.eval(tab, VOTES), "1|1|0");
    }
    browser.click(li, "document.querySelector('#poll .under button')");
    browser.until(li, "!byId('poll')");
}

/// The lesson as it is now, for people: `CLASSHUB_PICTURES=docs cargo test --test browser lesson` makes the README's pictures anew.
fn take_pictures(browser: &mut Browser, teacher: &Tab, li: &Tab) {
    let Some(folder) = std::env::var_os("CLASSHUB_PICTURES") else { return };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    for (tab, width, height, is_dark, file) in
        [(teacher, 1120, 640, false, "teacher.png"), (li, 360, 640, true, "pupil.png")]
    {
        browser.look_at(tab, width, height, is_dark);
        // On a phone a page begins with its members folded.
        browser.eval(tab, &format!("byId('who').open = {width} > 768"));
        browser.eval_async(tab, "new Promise(done => setTimeout(done, 500))");
        browser.picture(tab, &folder.join(file));
        browser.look_at(tab, 800, 600, false);
    }
}

fn the_room_is_locked(browser: &mut Browser, addr: SocketAddr, teacher: &Tab, li: &Tab) {
    browser.click(teacher, "byId('lock')");
    browser.until(teacher, "byId('lock').getAttribute('aria-pressed') === 'true'");
    browser.until(li, "text('rules') !== '' && !byId('rules').hidden");
    let stranger = browser.open(addr);
    browser.fill_in(addr, &stranger, "en", "Stranger");
    browser
        .until(&stranger, "state() === 'refused' && text('notice-hub').includes('(locked)') && !byId('retry').hidden");
    // Who sat there comes back, here by a reload.
    browser.reload(li);
    browser.until(li, "state() === 'joined' && members() === 'Ms Wang|李小明|Anna'");
    browser.click(teacher, "byId('lock')");
    browser.until(li, "byId('rules').hidden");
    browser.click(&stranger, "byId('retry')");
    browser.until(&stranger, "state() === 'joined'");
    browser.click(&stranger, "byId('leave')");
    browser.until(&stranger, "state() === 'out'");
    browser.close(stranger);
}

fn the_room_is_quiet(browser: &mut Browser, teacher: &Tab, anna: &Tab) {
    browser.click(teacher, "byId('quiet')");
    browser.until(anna, "byId('text').disabled && byId('send').disabled && !byId('rules').hidden");
    // Hands go up and down all the same.
    browser.click(anna, "byId('hand')");
    browser.until(teacher, &format!("{HANDS} === '李小明'"));
    browser.say(teacher, "listen");
    browser.until(anna, "said('Ms Wang').includes('listen')");
    browser.click(teacher, "byId('quiet')");
    browser.until(anna, "!byId('text').disabled && byId('rules').hidden");
    browser.say(anna, "thanks");
    browser.until(teacher, "said('Anna').includes('thanks')");
}

fn somebody_is_removed(browser: &mut Browser, teacher: &Tab, li: &Tab, anna: &Tab) {
    // It takes a second thought.
    browser.click(teacher, &tool_of("Anna", ".remove"));
    browser.click(teacher, &tool_of("Anna", ".sure"));
    browser.until(anna, "state() === 'closed' && !byId('notice').hidden && text('notice-words').includes('removed')");
    browser.until(li, "members() === 'Ms Wang|李小明' && text('talk').includes('Anna 被移出了房间')");
    browser.click(anna, "byId('retry')");
    browser.until(anna, "state() === 'refused' && text('notice-hub').includes('(removed)')");
    browser.until(teacher, "text('removed').includes('Anna')");
    browser.click(teacher, "byId('removed').querySelector('button')");
    browser.until(teacher, "!text('removed').includes('Anna')");
    browser.click(anna, "byId('retry')");
    browser.until(anna, "state() === 'joined' && members() === 'Ms Wang|李小明|Anna'");
}

/// It is still the teacher, and has all that was said.
fn the_teacher_reloads(browser: &mut Browser, teacher: &Tab, li: &Tab) {
    let notes = browser.eval(li, "document.querySelectorAll('#talk .note').length");
    browser.reload(teacher);
    browser.until(teacher, "state() === 'joined' && !byId('tools').hidden && members() === 'Ms Wang|李小明|Anna'");
    browser.until(teacher, "said('Anna').includes('thanks') && said('李小明').join() === '老师好'");
    browser.until(teacher, &format!("{HANDS} === '李小明'"));
    assert_eq!(
        browser.eval(li, "document.querySelectorAll('#talk .note').length"),
        notes,
        "the class saw nothing of it"
    );
    // Another tab of the same browser is the same person: it is refused while the first is there.
    let second = browser.open_beside(teacher);
    browser.eval(&second, "0");
    let url = browser.eval(teacher, "location.href");
    browser.go(&second, url.as_str().expect("a page has an address"));
    assert_eq!(browser.eval(&second, "byId('name').value"), "Ms Wang");
    browser.close(second);
    browser.until(teacher, "state() === 'joined'");
}

fn who_was_there(browser: &mut Browser, teacher: &Tab) {
    browser.click(teacher, "byId('attendance')");
    let (name, bytes) = browser.downloaded(teacher);
    assert!(name.starts_with("attendance-E00001-2") && name.ends_with(".csv"), "{name}");
    let text = String::from_utf8(bytes).expect("it is UTF-8");
    let lines: Vec<Vec<&str>> = text
        .strip_prefix('\u{feff}')
        .expect("a mark that says so")
        .split_terminator("\r\n")
        .map(|line| line.trim_matches('"').split("\",\"").collect())
        .collect();
    assert_eq!(lines[0].len(), 5, "{text}");
    let people: Vec<(&str, &str)> = lines[1..].iter().map(|line| (line[0], line[1])).collect();
    assert!(people.starts_with(&[("Ms Wang", ""), ("李小明", "7"), ("Anna", "")]), "{text}");
    assert!(people.iter().any(|(name, _)| *name == "Late"), "{text}");
    for line in &lines[1..] {
        let gone = ["Late", "mallory", "Stranger"].contains(&line[0]);
        assert_eq!(line[3].is_empty(), !gone, "who is here has not left: {text}");
        assert!(line[2].len() >= "2020-01-01 00:00".len() && line[4].parse::<f64>().is_ok(), "{text}");
    }
}

#[test]
fn what_others_write_stays_text_however_it_is_meant() {
    let Some(mut browser) = Browser::start() else { return };
    let hub = Hub::start("");
    let anna = browser.join(hub.addr, "en", "Anna");
    let names = ["<img src=x onerror=alert(1)>", "\u{202e}txet desrever", "=cmd|' /C calc'!A0", "عمر", "   "];
    let long = "x".repeat(10_000);
    let mut strangers: Vec<Client> = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let mut client = Client::connect(hub.addr);
        let mut request = join(ROOM, &format!("<script>{n}</script>\"'&"));
        request["textData"]["data"]["from"]["personName"] = json!(name);
        request["textData"]["data"]["from"]["headImgUrl"] = json!(
            [
                "javascript:alert(1)",
                "//evil.example/x.png",
                "http://evil.example/x.png",
                "data:image/svg+xml,<svg/>",
                "/\\evil"
            ][n]
        );
        client.join_with(&request);
        strangers.push(client);
    }
    browser.until(&anna, "text('count') === '6'");
    for (n, text) in [&long[..], "<img src=x onerror=alert(2)>", "\u{202e}abc", "a\nb\tc", "https://evil.example/"]
        .iter()
        .enumerate()
    {
        let client = &mut strangers[n];
        client.send_json(&said(3, ROOM, json!(text)));
    }
    let all = json!([long, "<img src=x onerror=alert(2)>", "\u{202e}abc", "a\nb\tc", "https://evil.example/"]);
    browser.until(&anna, "document.querySelectorAll('#talk .said').length === 5");
    let seen = browser.eval(&anna, "[...document.querySelectorAll('#talk .said p')].map(e => e.textContent)");
    let sorted = |value: &Value| {
        let mut texts: Vec<String> = value.as_array().expect("a list").iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    assert_eq!(sorted(&seen), sorted(&all));
    let seen = browser.eval(&anna, "[...document.querySelectorAll('#members bdi.name')].map(e => e.textContent)");
    assert_eq!(seen, json!(["Anna", names[0], names[1], names[2], names[3], names[4]]));
    // Nothing of it became anything, or was asked for.
    assert_eq!(
        browser.eval(&anna, "document.querySelectorAll('main img, main a:not(#invite), main script').length"),
        0
    );
    // The page is as wide as its window, on a phone too.
    browser.look_at(&anna, 320, 600, false);
    assert_eq!(browser.eval(&anna, "document.documentElement.scrollWidth <= 320"), true);
    // Each name turns its own way, and no other's.
    assert_eq!(
        browser.eval(&anna, "[...document.querySelectorAll('#talk .said p')].every(e => e.dir === 'auto')"),
        true
    );
    assert_eq!(browser.complaints, Vec::<String>::new());
    assert!(!browser.requests.iter().any(|url| url.contains("evil")), "{:?}", browser.requests);
}

/// A member's picture, where it may be shown; else what stands in for it.
#[test]
fn a_picture_comes_from_here_or_over_https() {
    let Some(mut browser) = Browser::start() else { return };
    let hub = Hub::start("");
    let anna = browser.join(hub.addr, "en", "Anna");
    let mut bert = Client::connect(hub.addr);
    let mut request = join(ROOM, "bert");
    request["textData"]["data"]["from"]["personName"] = json!("bert");
    request["textData"]["data"]["from"]["headImgUrl"] = json!("/icon.svg");
    bert.join_with(&request);
    let shown = format!("(document.querySelector('#members img') || {{}}).src === 'http://{}/icon.svg'", hub.addr);
    browser.until(&anna, &shown);
    browser.until(&anna, "document.querySelector('#members img').naturalWidth > 0");
    assert_eq!(browser.eval(&anna, "document.querySelectorAll('#members .face')[0].textContent"), "A");
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// Two rooms in one tab, each with its own class.
#[test]
fn several_rooms_are_tabs() {
    let Some(mut browser) = Browser::start() else { return };
    let hub = Hub::start("");
    let anna = browser.join(hub.addr, "en", "Anna");
    let mut other = Client::connect(hub.addr);
    other.join("E00002", "other");
    browser.click(&anna, "byId('add-room')");
    browser.until(&anna, "!byId('enter').hidden");
    browser.write(&anna, "room", "E00002");
    browser.press(&anna, "Enter");
    browser.until(&anna, "state() === 'joined' && text('title') === 'E00002' && text('count') === '2'");
    assert_eq!(data(&other.recv_json())["newJoinMember"]["personName"], "Anna");
    browser.until(&anna, "byId('tabs').children.length === 2 && !byId('tabs').hidden");
    // The first goes on meanwhile, and says how much was said there.
    let mut bert = hub.join("bert");
    bert.send_json(&said(3, ROOM, json!("anybody?")));
    browser.until(&anna, "byId('tabs').children[0].querySelector('.unread').textContent.trim() === '+1'");
    assert_eq!(browser.eval(&anna, "text('talk').includes('anybody?')"), false);
    browser.click(&anna, "byId('tabs').children[0]");
    browser.until(&anna, "text('title') === 'E00001' && said('bert').join() === 'anybody?'");
    assert_eq!(browser.eval(&anna, "!byId('tabs').children[0].querySelector('.unread')"), true);
    browser.say(&anna, "in the first");
    assert_eq!(data(&bert.recv_json())["content"], "anybody?");
    assert_eq!(data(&bert.recv_json())["content"], "in the first");
    other.fence();
    // A reload finds both again.
    browser.reload(&anna);
    browser.until(&anna, "byId('tabs').children.length === 2 && state() === 'joined' && text('title') === 'E00001'");
    browser.click(&anna, "byId('leave')");
    browser.until(&anna, "text('title') === 'E00002' && byId('tabs').hidden && state() === 'joined'");
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// A keyboard is enough: every control is reached by the Tab key, and does what a click does.
#[test]
fn a_keyboard_is_enough() {
    let Some(mut browser) = Browser::start() else { return };
    let hub = Hub::start("");
    let anna = browser.open(hub.addr);
    browser.speak(&anna, "en");
    let tab_to = |browser: &mut Browser, id: &str| {
        for _ in 0..40 {
            if browser.eval(&anna, "document.activeElement.id") == id {
                return;
            }
            browser.press(&anna, "Tab");
        }
        panic!("{id} is not reached by the keyboard");
    };
    browser.eval(&anna, "document.activeElement.blur()");
    tab_to(&mut browser, "name");
    browser.type_text(&anna, "Anna");
    tab_to(&mut browser, "join");
    browser.press(&anna, "Enter");
    browser.until(&anna, "state() === 'joined'");
    for (id, holds) in [
        ("hand", "byId('hand').getAttribute('aria-pressed') === 'true' && !byId('hands').hidden"),
        ("lock", "byId('lock').getAttribute('aria-pressed') === 'true'"),
        ("quiet", "byId('quiet').getAttribute('aria-pressed') === 'true'"),
        ("poll-open", "!byId('poll-form').hidden && document.activeElement.id === 'poll-question'"),
    ] {
        tab_to(&mut browser, id);
        browser.press(&anna, "Enter");
        browser.until(&anna, holds);
    }
    tab_to(&mut browser, "leave");
    browser.press(&anna, " ");
    browser.until(&anna, "state() === 'out' && document.activeElement.id === 'join'");
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// A class that reloads is sent nothing anew.
#[test]
fn a_reload_sends_the_page_once() {
    let Some(mut browser) = Browser::start() else { return };
    let hub = Hub::start("");
    let anna = browser.open(hub.addr);
    let sizes = "performance.getEntriesByType('resource').map(e => [e.name, e.transferSize, e.encodedBodySize])
        .filter(([name]) => !name.includes('icon'))";
    let loaded = browser.eval(&anna, sizes);
    assert!(loaded.as_array().is_some_and(|all| all.len() > 5), "{loaded}");
    browser.reload(&anna);
    for entry in browser.eval(&anna, sizes).as_array().expect("a list") {
        // What Chromium reports of an answer without a body: its head, and nothing behind it.
        let (transferred, size) = (entry[1].as_u64().expect("a size"), entry[2].as_u64().expect("a size"));
        assert!(transferred <= 300 && size == 0 || transferred < size.min(800), "no more than a head: {entry}");
    }
}

/// A pupil learns only from the refusal that there is a passcode, types it once, and is not asked again by the same tab.
#[test]
fn a_passcode_is_asked_for_where_there_is_one() {
    let Some(mut browser) = Browser::start() else { return };
    let room = format!("[[room]]\nnumber = \"{ROOM}\"\npasscode = \"西瓜\"\n");
    let hub = Hub::start(&room);
    let addr = hub.addr;
    let anna = browser.open(addr);
    browser.fill_in(addr, &anna, "en", "Anna");
    browser.until(&anna, "state() === 'refused' && text('notice-hub').includes('(passcode)') && !byId('code').hidden");
    assert_eq!(browser.eval(&anna, "byId('code').placeholder"), "Room passcode");
    browser.write(&anna, "code", "melon");
    browser.press(&anna, "Enter");
    browser.until(&anna, "state() === 'refused' && !byId('code').hidden");
    browser.write(&anna, "code", "西瓜");
    browser.press(&anna, "Enter");
    browser.until(&anna, "state() === 'joined' && byId('notice').hidden");
    browser.reload(&anna);
    browser.until(&anna, "state() === 'joined'");

    // Another hub knows nothing of its seat.
    drop(hub);
    browser.until(&anna, "['waiting', 'connecting'].includes(state())");
    let hub = Hub::start(&format!("listen = [\"{addr}\"]\n{room}"));
    browser.until(&anna, "state() === 'joined' && byId('code').hidden");
    // Nor does it stay on a computer that others use as well: she was alone, and the room hers.
    assert_eq!(browser.eval(&anna, "JSON.stringify(localStorage).includes('西瓜')"), false);
    assert_eq!(browser.eval(&anna, "JSON.stringify(sessionStorage).includes('西瓜')"), true);
    // Pressed, the button does the same; and what is wrong can be put right there too.
    let bert = browser.open(addr);
    browser.fill_in(addr, &bert, "zh", "小明");
    browser.until(&bert, "!byId('code').hidden");
    browser.write(&bert, "code", "西瓜");
    browser.eval(&bert, "byId('code').blur()");
    browser.until(&bert, "state() === 'joined' && members() === 'Anna|小明'");
    drop(hub);
}
