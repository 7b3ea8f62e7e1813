//! The page in a real browser, against the real hub.
//!
//! Owns: a class of a few tabs in headless Chromium that joins, talks, is lied to, loses its hub and
//! finds it again; and just enough of Chromium's DevTools protocol to drive it: it is JSON over
//! WebSocket, which this package speaks anyway, so that no library with a browser's whole protocol in it
//! has to be built for one test.
//! Refuses to know: how the page does it. What counts is what a pupil would see, found by element id.
//!
//! Without Chromium in the `PATH` the test says so and passes; where `CI` is `true` it fails instead.

mod common;

use serde_json::{Value, json};
use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tungstenite::{Message, WebSocket};

use common::Hub;

/// What a page may take to get anywhere. A slow board's page waits up to 8 s between two tries.
const PATIENCE: Duration = Duration::from_secs(30);

/// It has to stay text, in a name and in a message. It fits into the 96 bytes of a name.
const HOSTILE: &str = r#"<img src=x onerror="window.fooled = true"><b>bold</b>"#;

#[test]
fn a_class_talks_and_outlives_its_hub() {
    let Some(chromium) = find_chromium() else {
        let missing = "no Chromium in the PATH: install one, such as Debian's package `chromium`";
        assert!(env::var("CI").as_deref() != Ok("true"), "{missing}");
        println!("skipped: {missing}");
        return;
    };
    let hub = Hub::start("");
    let addr = hub.addr;
    let mut browser = Browser::start(&chromium);

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
    let id = browser.eval(first, "sessionStorage.getItem('classhub.id')");
    let copy = browser.open(addr);
    browser.eval(&copy, &format!("sessionStorage.setItem('classhub.id', {id})"));
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

// ---- The browser --------------------------------------------------------------------------------

fn find_chromium() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

/// One page, known by its DevTools session.
struct Tab {
    target: String,
    session: String,
}

struct Browser {
    child: Child,
    profile: PathBuf,
    socket: WebSocket<TcpStream>,
    calls: u64,
    /// What pages complained about so far: exceptions, and console messages above plain ones. What a
    /// page complains of comes in before the next answer that it gives.
    complaints: Vec<String>,
}

impl Browser {
    fn start(chromium: &Path) -> Browser {
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chromium-{}", std::process::id()));
        let _ = fs::remove_dir_all(&profile);
        let mut child = Command::new(chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            // A container's /dev/shm is too small for it.
            .arg("--disable-dev-shm-usage")
            // Nobody looks at either tab; both are to run as if somebody did.
            .args(["--disable-background-timer-throttling", "--disable-renderer-backgrounding"])
            .arg("--disable-backgrounding-occluded-windows")
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Chromium starts");
        // Its complaints about the machine it runs on are nobody's here.
        let url = announced(&mut child, "DevTools listening on ", drop);
        let host = url.split('/').nth(2).expect("the DevTools URL has a host");
        let stream = TcpStream::connect(host).expect("Chromium listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a period above 0 is taken");
        let (socket, _) = tungstenite::client(url.as_str(), stream).expect("Chromium speaks WebSocket");
        Browser { child, profile, socket, calls: 0, complaints: Vec::new() }
    }

    /// Opens the page in a new tab.
    fn open(&mut self, addr: SocketAddr) -> Tab {
        let target = self.call(None, "Target.createTarget", json!({"url": "about:blank", "newWindow": true}));
        let target = target["targetId"].as_str().expect("a target has an id").to_owned();
        let attach = json!({"targetId": target, "flatten": true});
        let session = self.call(None, "Target.attachToTarget", attach);
        let session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        let tab = Tab { target, session };
        for method in ["Runtime.enable", "Log.enable", "Page.enable"] {
            self.call(Some(&tab), method, json!({}));
        }
        self.call(Some(&tab), "Emulation.setFocusEmulationEnabled", json!({"enabled": true}));
        // What the questions of this test are made of.
        let words = "window.byId = id => document.getElementById(id);
            window.text = id => byId(id).textContent;
            window.state = () => byId('state').dataset.state;
            window.members = () => [...byId('members').querySelectorAll('bdi')].map(e => e.textContent).join('|');
            window.said = name => [...document.querySelectorAll('#talk .said')]
                .filter(e => e.querySelector('bdi').textContent === name).map(e => e.querySelector('p').textContent);";
        self.call(Some(&tab), "Page.addScriptToEvaluateOnNewDocument", json!({"source": words}));
        self.load(&tab, addr);
        tab
    }

    fn load(&mut self, tab: &Tab, addr: SocketAddr) {
        // The mark is gone when the next document is there.
        self.eval(tab, "window.stale = true");
        self.call(Some(tab), "Page.navigate", json!({"url": format!("http://{addr}/?room=E00001")}));
        self.until(tab, "!window.stale && document.readyState === 'complete' && byId('room').value === 'E00001'");
    }

    /// Opens the page and takes a seat in the room.
    fn join(&mut self, addr: SocketAddr, language: &str, name: &str) -> Tab {
        let tab = self.open(addr);
        self.fill_in(addr, &tab, language, name);
        self.until(&tab, "state() === 'joined' && byId('enter').hidden");
        tab
    }

    fn fill_in(&mut self, addr: SocketAddr, tab: &Tab, language: &str, name: &str) {
        self.load(tab, addr);
        let speaks = format!("document.documentElement.lang.startsWith('{language}') || byId('language').click()");
        self.eval(tab, &speaks);
        self.write(tab, "name", name);
        self.eval(tab, "byId('join').click()");
    }

    /// Types into a field, in place of what was there.
    fn write(&mut self, tab: &Tab, id: &str, text: &str) {
        self.eval(tab, &format!("byId('{id}').focus(); byId('{id}').select()"));
        self.call(Some(tab), "Input.insertText", json!({"text": text}));
    }

    fn say(&mut self, tab: &Tab, text: &str) {
        self.write(tab, "text", text);
        for (event, text) in [("keyDown", "\r"), ("keyUp", "")] {
            let key =
                json!({"type": event, "key": "Enter", "code": "Enter", "text": text, "windowsVirtualKeyCode": 13});
            self.call(Some(tab), "Input.dispatchKeyEvent", key);
        }
        self.until(tab, "byId('text').value === ''");
    }

    /// Waits until the page answers the question with yes.
    fn until(&mut self, tab: &Tab, question: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = json!({"expression": question, "returnByValue": true});
            let answer = self.call(Some(tab), "Runtime.evaluate", asked);
            if answer["result"]["value"] == true {
                return;
            }
            if Instant::now() > deadline {
                let seen = self.eval(tab, "document.body.innerText");
                panic!("not in time: {question}\n(last answer: {answer})\nThe page shows:\n{seen}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn eval(&mut self, tab: &Tab, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true});
        let mut answer = self.call(Some(tab), "Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    fn close(&mut self, tab: Tab) {
        self.call(None, "Target.closeTarget", json!({"targetId": tab.target}));
    }

    fn call(&mut self, tab: Option<&Tab>, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut request = json!({"id": id, "method": method, "params": params});
        if let Some(tab) = tab {
            request["sessionId"] = json!(tab.session);
        }
        let request = Message::text(request.to_string());
        self.socket.send(request).expect("Chromium is there");
        loop {
            let message = self.socket.read().expect("Chromium answers in time");
            let Ok(text) = message.to_text() else { continue };
            let mut said: Value = serde_json::from_str(text).unwrap_or_default();
            if said["id"] == id {
                assert!(said.get("error").is_none(), "{method}: {said}");
                return said["result"].take();
            }
            self.listen(&said);
        }
    }

    fn listen(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] != "log" => {
                self.complaints.push(params["args"].to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] != "verbose" => {
                let text = params["entry"]["text"].as_str().unwrap_or_default();
                self.complaints.push(text.to_owned());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked, it ends its own children; killed, it might leave some behind.
        let close = Message::text(json!({"id": 0, "method": "Browser.close"}).to_string());
        let _ = self.socket.send(close);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// Reads what a program says at its start until a line has `before`, and gives what follows it there.
/// All other lines go to `heard`, to the end, so that the program never waits for a reader.
fn announced(child: &mut Child, before: &str, heard: fn(String)) -> String {
    let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
    let found = loop {
        let line = lines.next().expect("the program starts").expect("stderr can be read");
        if let Some((_, rest)) = line.split_once(before) {
            break rest.trim().to_owned();
        }
        heard(line);
    };
    thread::spawn(move || lines.map_while(Result::ok).for_each(heard));
    found
}
