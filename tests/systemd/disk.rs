//! What the hub needs of the disk, and of a machine whose power may be cut at any moment: its binary, its configuration, and nothing else. It writes
//! nothing, so nothing can be half written.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Client, Hub, PATIENCE, ROOM, Response, chat, tcp};
use crate::{has, listener};

/// A hub with a socket of the test's, killed when dropped.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    /// Runs `command`, a shell's, of which `$HUB` is the hub.
    fn start(command: &str, arguments: &[&str]) -> Running {
        let (socket, address) = listener();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 3>&1 >&2 && export LISTEN_PID=$$ && {command}"), "sh"]).args(arguments);
        shell.env("HUB", env!("CARGO_BIN_EXE_classhub")).env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "http");
        let child = shell.stdin(Stdio::null()).stdout(Stdio::from(std::os::fd::OwnedFd::from(socket))).spawn();
        Running { child: child.expect("there is a shell"), address }
    }

    /// Lets a class talk, and a page be read.
    #[track_caller]
    fn serves(&mut self) {
        let mut stream: TcpStream = tcp(self.address);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("the kernel takes it");
        assert_eq!(Response::read(&mut stream).status, 200);
        let mut members = ["a", "b"].map(|id| {
            let mut client = Client::connect(self.address);
            client.join(ROOM, id);
            client
        });
        members[0].send_json(&chat(ROOM, "hello"));
        members[1].hear("hello");
        assert_eq!(self.child.try_wait().expect("it is our child"), None);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _gone = self.child.wait();
    }
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

#[test]
fn a_full_disk_under_its_log_ends_nothing() {
    // Whatever is written there is refused for want of space.
    Running::start("exec \"$HUB\" --log trace 2>/dev/full", &[]).serves();
}

#[test]
fn a_log_that_nobody_takes_any_more_ends_nothing() {
    Running::start("exec \"$HUB\" --log trace 2>&-", &[]).serves();
}

/// Without rights of their own, processes may have namespaces in which they have them; some machines don't let them.
fn has_namespaces() -> bool {
    let tried = has("unshare")
        && Command::new("unshare")
            .args(["-rm", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
    if !tried {
        eprintln!("NOT TESTED: this machine gives no namespaces");
    }
    tried
}

#[test]
fn a_disk_that_takes_nothing_is_enough() {
    if !has_namespaces() {
        return;
    }
    let inside = "mount -o remount,bind,ro / && ! touch \"$1/x\" 2>/dev/null && exec \"$HUB\"";
    let folder = env!("CARGO_TARGET_TMPDIR");
    Running::start("exec unshare -rm sh -c \"$1\" sh \"$2\"", &[inside, folder]).serves();
}

/// Not even `/dev` and `/proc`.
#[test]
fn its_binary_and_the_libraries_are_enough() {
    if !has_namespaces() || !has("ldd") {
        return;
    }
    let root = scratch("bare");
    let hub = Path::new(env!("CARGO_BIN_EXE_classhub"));
    let listed = Command::new("ldd").arg(hub).output().expect("it is there").stdout;
    let listed = String::from_utf8(listed).expect("text");
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let inside = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().expect("it is in a folder")).expect("the folder for tests can be written");
        fs::copy(library, inside).expect("it is there");
    }
    fs::create_dir_all(&root).expect("the folder for tests can be written");
    fs::copy(hub, root.join("classhub")).expect("it is there");
    let mut hub = Running::start("exec unshare -r chroot \"$1\" /classhub", &[&root.to_string_lossy()]);
    hub.serves();
    drop(hub);
    fs::remove_dir_all(root).expect("it was there");
}

#[test]
fn nothing_is_written_and_little_is_read() {
    if !has("strace") {
        return;
    }
    let calls = scratch("calls");
    let mut strace = Command::new("strace");
    // As the parent of nobody, so that the hub is what the test has started.
    strace.args(["-D", "-q", "-e", "trace=%file,write,pwrite64,ftruncate,fallocate", "-o"]).arg(&calls);
    let mut hub = Hub::start_as(
        {
            strace.arg(env!("CARGO_BIN_EXE_classhub"));
            strace
        },
        "log = \"debug\"\n",
    );
    let mut members = ["a", "b"].map(|id| hub.join(id));
    members[0].send_json(&chat(ROOM, "hello"));
    members[1].hear("hello");
    assert_eq!(hub.http("GET /addresses.json HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    assert!(hub.stop().success());

    // strace writes its last lines when the hub has ended.
    let until = std::time::Instant::now() + PATIENCE;
    let text = loop {
        let text = fs::read_to_string(&calls).expect("strace has begun");
        if text.contains("+++ exited with 0 +++") {
            break text;
        }
        assert!(std::time::Instant::now() < until, "strace does not end");
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    let mut read = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("+++") && !line.starts_with("---")) {
        let (call, arguments) = line.split_once('(').expect("a call");
        let path = arguments.split('"').nth(1).unwrap_or_default();
        match call {
            "open" | "openat" => {
                let is_harmless = arguments.contains("O_RDONLY") && !arguments.contains("O_CREAT");
                assert!(is_harmless, "{line}");
                read.push(path.to_owned());
            }
            "write" => assert!(arguments.starts_with("2, ") || arguments.starts_with("1, "), "{line}"),
            "execve" | "access" | "faccessat" | "readlink" | "readlinkat" | "stat" | "fstat" | "lstat" | "statx"
            | "newfstatat" | "getcwd" => {}
            _ => panic!("{line}"),
        }
    }
    // The libraries, and how the loader finds them.
    read.retain(|path| !path.contains(".so") && !path.starts_with("/etc/ld.so"));
    let (ours, others): (Vec<String>, Vec<String>) = read.into_iter().partition(|path| path.ends_with(".toml"));
    assert_eq!(ours.len(), 1, "{ours:?}");
    // What the runtime asks about its stack, and the descriptor to spare.
    let known = ["/dev/null", "/proc/self/maps", "/proc/self/cgroup", "/sys/fs/cgroup/"];
    assert!(others.iter().all(|path| known.iter().any(|known| path.starts_with(known))), "{others:?}");
    fs::remove_file(calls).expect("it was there");
}
