//! The `classhub` command: arguments in, exit code out.

use std::io::{IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::process::ExitCode;

#[cfg(feature = "tls")]
use classhub::host::certificates::{self, Certificates, Order};
use classhub::host::cli::{self, Command, TokenOptions};
use classhub::host::clock::Clock;
use classhub::host::config::Config;
#[cfg(feature = "tls")]
use classhub::host::config::Source;
use classhub::host::logging::{self, say};
use classhub::host::systemd::{HandedOver, Manager};
use classhub::host::{addresses, descriptors, status, tokens, upgrade};
use classhub::net::{BindError, Listen, Server};
use classhub::page::qr::Qr;
use log::{Level, error, info, warn};

/// The command line is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            say(Level::Error, &format!("classhub: {error}"));
            return ExitCode::from(USAGE);
        }
    };
    let done = match command {
        #[cfg(feature = "tls")]
        Command::Cert { out, names } => cert(out, names),
        #[cfg(not(feature = "tls"))]
        Command::Cert { .. } => unreachable!("it was refused as it was read"),
        Command::Help => print(cli::HELP),
        Command::Version => print(concat!("classhub ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Check(options) => options.load().map_err(Into::into).and_then(|config| check(&config)),
        Command::Token(options) => token(&options),
        Command::Status { addr, config } => status(addr, config.as_deref()),
        Command::Serve(options) => serve(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(Level::Error, &format!("classhub: {error}"));
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn check(config: &Config) -> Done {
    #[cfg(feature = "tls")]
    let of_certificates = config.certificates()?.map(|certificates| certificates.warnings).unwrap_or_default();
    #[cfg(not(feature = "tls"))]
    let of_certificates = Vec::new();
    for warning in config.warnings.iter().chain(&of_certificates) {
        say(Level::Warn, &format!("classhub: {warning}"));
    }
    print(&config.report().to_string())
}

fn token(options: &TokenOptions) -> Done {
    let config = Config::read(&options.config)?;
    for warning in &config.warnings {
        say(Level::Warn, &format!("classhub: {warning}"));
    }
    print(&(tokens::make(options, &config, Clock::new().read())? + "\n"))
}

/// How a running hub is doing: where nobody says where it is, where a hub is that nobody told otherwise.
fn status(addr: Option<SocketAddr>, config: Option<&Path>) -> Done {
    let config = config.map_or(Ok(Config::default()), Config::read)?;
    let asked = addr.or_else(|| status::address(&config.listen));
    print(&status::of(asked.ok_or("listen leaves the port to the system: say where the hub is, with --addr")?)?)
}

fn serve(options: cli::Options) -> Done {
    let config = options.load()?;
    logging::start(config.log);
    for warning in &config.warnings {
        warn!("{warning}");
    }
    if let Err(missing) = descriptors::raise(u64::from(config.connections)) {
        warn!("{missing}");
    }
    #[cfg(feature = "tls")]
    let certificates = config.certificates()?;
    #[cfg(not(feature = "tls"))]
    let certificates = None::<()>;
    let before = Before::find(&config);
    let HandedOver { http, mut tls, warnings } = before.handed_over()?;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    if certificates.is_none() && !tls.is_empty() {
        warn!("the sockets named tls that systemd handed over are closed: there is no certificate (tls.cert)");
        tls.clear();
    }
    let is_new = !matches!(before, Before::Hub(_));
    let (mut server, left) = match before {
        Before::Nobody => (bind(&config, http)?, Vec::new()),
        Before::Hub(server) => (*server, Vec::new()),
        Before::Wreck(mut connections) => {
            connections.extend(upgrade::connections().into_iter().map(mio::net::TcpStream::from_std));
            (bind(&config, http)?, connections)
        }
    };
    #[cfg(feature = "tls")]
    match certificates {
        Some(certificates) => {
            for warning in &certificates.warnings {
                warn!("{warning}");
            }
            listen_tls(&mut server, &config, certificates, tls)?;
        }
        None => server.close_tls(),
    }
    #[cfg(not(feature = "tls"))]
    server.close_tls();
    server.dismiss(left);
    server.report_to(Manager::of_this_process());
    server.reload_with(config, Box::new(move || options.load_again()));
    if is_new {
        tell_where(&server.addresses(), &server.secure_addresses());
    }
    server.run()?;
    info!("stopped");
    Ok(())
}

/// Who had this process before.
enum Before {
    /// Nobody: it was started.
    Nobody,
    /// A hub, which this one goes on with.
    Hub(Box<Server>),
    /// A hub whose state is of no use; these are its connections.
    Wreck(Vec<mio::net::TcpStream>),
}

impl Before {
    fn find(config: &Config) -> Before {
        let Some(state) = upgrade::left() else { return Before::Nobody };
        let unusable = match Server::resume(state, config.into(), config.hub.clone()) {
            Ok(server) => return Before::Hub(Box::new(server)),
            Err(unusable) => unusable,
        };
        error!("the hub begins anew, and everyone has to come back: of the state of the one before, {}", unusable.why);
        Before::Wreck(unusable.connections)
    }

    /// What the service manager has handed over, where the hub before has not taken that already.
    fn handed_over(&self) -> Result<HandedOver, String> {
        if let Before::Hub(_) = self { Ok(HandedOver::default()) } else { HandedOver::take() }
    }
}

/// Listens on what was handed over, or else where the configuration says. Where it says nothing, and the kernel has no IPv6, IPv4 will do.
fn bind(config: &Config, handed_over: Vec<TcpListener>) -> Result<Server, BindError> {
    let bind = |listen: Listen| Server::bind(listen, config.into(), config.hub.clone());
    if !handed_over.is_empty() {
        return bind(Listen::On(handed_over));
    }
    match bind(Listen::At(&config.listen)) {
        Err(BindError { error, .. }) if config.listen_is_default() && error.kind() != std::io::ErrorKind::AddrInUse => {
            let port = config.listen.first().map_or(0, SocketAddr::port);
            bind(Listen::At(&[(Ipv4Addr::UNSPECIFIED, port).into()]))
        }
        bound => bound,
    }
}

/// Listens for TLS too, on what was handed over or else where the configuration says. Where nobody said where, and the kernel has no IPv6, IPv4 will do.
#[cfg(feature = "tls")]
fn listen_tls(
    server: &mut Server,
    config: &Config,
    certificates: Certificates,
    handed_over: Vec<TcpListener>,
) -> Result<(), BindError> {
    let goes_on = !server.secure_addresses().is_empty();
    if goes_on || !handed_over.is_empty() {
        return server.listen_tls(Listen::On(handed_over), certificates);
    }
    let is_default = config.source("tls.listen") == Source::Default;
    match server.listen_tls(Listen::At(&config.tls_listen), certificates.clone()) {
        Err(BindError { error, .. }) if is_default && error.kind() != std::io::ErrorKind::AddrInUse => {
            let port = config.tls_listen.first().map_or(0, SocketAddr::port);
            server.listen_tls(Listen::At(&[(Ipv4Addr::UNSPECIFIED, port).into()]), certificates)
        }
        listening => listening,
    }
}

/// Makes certificates, and says what to do with them.
#[cfg(feature = "tls")]
fn cert(out: PathBuf, names: Vec<String>) -> Done {
    let order = Order {
        names,
        host: addresses::host_name(),
        addresses: addresses::of_machine(),
        wall_s: Clock::new().read().wall_ms / 1000,
        out,
    };
    let issued = certificates::issue(&order)?;
    let folder = order.out.canonicalize().unwrap_or(order.out);
    print(&issued.told(&folder))
}

/// Says where the hub listens, for whoever started it and whatever the log's level: these are the addresses to open. A person at a terminal is
/// shown a code to scan; the journal has no use for one.
fn tell_where(bound: &[SocketAddr], secure: &[SocketAddr]) {
    let machine = addresses::of_machine();
    let urls = addresses::urls(bound, &machine);
    for url in urls.iter().chain(&addresses::secure_urls(secure, &machine)) {
        say(Level::Info, &format!("listening on {url}"));
    }
    let for_others = addresses::urls_for_others(bound, &machine);
    let Some(url) = for_others.first().or(urls.first()) else { return };
    let to_scan = for_others.first().filter(|_| std::io::stderr().is_terminal());
    if let Some(code) = to_scan.and_then(|url| Qr::of(&format!("{url}/"))) {
        say(Level::Info, &format!("\n{}", code.terminal()));
        say(
            Level::Info,
            &format!("手机扫码进入课堂，投影请打开 · Scan to come in; to show on a projector: {url}/join"),
        );
    } else {
        say(Level::Info, &format!("to show on a projector: {url}/join"));
    }
}

/// To standard output, which may be gone: that is an error, and no panic.
fn print(text: &str) -> Done {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
