//! The `classhub` command: arguments in, exit code out.

use std::fs::File;
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
use classhub::hub::Settings;
use classhub::net::exchange::Options;
use classhub::net::{BindError, Listen, Server, Unusable};
use classhub::page::qr::Qr;
use log::{Level, LevelFilter, error, info, warn};
use mio::net::TcpStream;

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
    let told = options.load().map_err(Into::into).and_then(Told::of);
    logging::start(told.as_ref().map_or(LevelFilter::Info, |told| told.config.log));
    match upgrade::left() {
        Some(state) => go_on(options, told, state),
        None => begin(options, told?),
    }
}

/// What the operator has decided, and all that was to be read for it.
struct Told {
    config: Config,
    #[cfg(feature = "tls")]
    certificates: Option<Certificates>,
}

impl Told {
    fn of(config: Config) -> Result<Told, Box<dyn std::error::Error>> {
        Ok(Told {
            #[cfg(feature = "tls")]
            certificates: config.certificates()?,
            config,
        })
    }

    /// Listens for TLS too where there are certificates, on what was handed over or else where the configuration says; else no more.
    fn listen_tls(&self, server: &mut Server, handed_over: Vec<TcpListener>) -> Result<(), BindError> {
        #[cfg(feature = "tls")]
        if let Some(certificates) = &self.certificates {
            return listen_tls(server, &self.config, certificates.clone(), handed_over);
        }
        if !handed_over.is_empty() {
            warn!("the sockets named tls that systemd handed over are closed: there is no certificate (tls.cert)");
        }
        server.close_tls();
        Ok(())
    }

    /// Tells the operator what he should hear, and sees to it that the system has a place for as many as he wants.
    fn heed(&self) {
        for warning in &self.config.warnings {
            warn!("{warning}");
        }
        #[cfg(feature = "tls")]
        for warning in self.certificates.iter().flat_map(|certificates| &certificates.warnings) {
            warn!("{warning}");
        }
        if let Err(missing) = descriptors::raise(u64::from(self.config.connections)) {
            warn!("{missing}");
        }
    }
}

/// A hub that is new.
fn begin(options: cli::Options, told: Told) -> Done {
    let server = open(&told, HandedOver::take()?)?;
    tell_where(&server.addresses(), &server.secure_addresses());
    run(server, options, told.config)
}

/// A hub with nobody in it, which listens.
fn open(told: &Told, handed_over: HandedOver) -> Result<Server, Box<dyn std::error::Error>> {
    told.heed();
    let HandedOver { http, tls, warnings } = handed_over;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    let mut server = bind(&told.config, http)?;
    told.listen_tls(&mut server, tls)?;
    Ok(server)
}

/// A hub that goes on where another has stopped in this process. What is wrong with what it is told by now does not end it: the program before was
/// told something else, and took it.
fn go_on(options: cli::Options, told: Result<Told, Box<dyn std::error::Error>>, state: File) -> Done {
    let (mut server, config) = match Server::resume(state, told.as_ref().ok().map(|told| told.config.clone())) {
        Ok(resumed) => resumed,
        Err(unusable) => return begin_anew(options, told, unusable),
    };
    let told = told.or_else(|wrong| {
        logging::set_level(config.log);
        error!("the hub goes on with the configuration that it had, since what is there now is wrong: {wrong}");
        Told::of(config.clone())
    });
    let heeded = told.and_then(|told| {
        told.heed();
        Ok(told.listen_tls(&mut server, Vec::new())?)
    });
    if let Err(wrong) = heeded {
        error!("the hub goes on without TLS: {wrong}");
        server.close_tls();
    }
    run(server, options, config)
}

/// A hub that cannot go on where another has stopped, whose members are told to come back. Where it cannot begin either, they are told too.
fn begin_anew(options: cli::Options, told: Result<Told, Box<dyn std::error::Error>>, unusable: Unusable) -> Done {
    let Unusable { why, mut connections } = unusable;
    error!("the hub begins anew, and everyone has to come back: of the state of the one before, {why}");
    let handed_over = HandedOver::take_what_is_left();
    connections.extend(upgrade::connections().into_iter().map(TcpStream::from_std));
    drop(upgrade::listeners());
    let opened = told.and_then(|told| Ok((open(&told, handed_over)?, told)));
    match opened {
        Ok((mut server, told)) => {
            server.dismiss(connections);
            tell_where(&server.addresses(), &server.secure_addresses());
            run(server, options, told.config)
        }
        Err(wrong) => {
            say_goodbye(connections)?;
            Err(wrong)
        }
    }
}

/// To those whose hub is no more, where there is none to come back to either.
fn say_goodbye(left: Vec<TcpStream>) -> Done {
    let mut server = Server::bind(Listen::On(Vec::new()), Options::default(), Settings::default())?;
    server.dismiss(left);
    Ok(server.end()?)
}

fn run(mut server: Server, options: cli::Options, config: Config) -> Done {
    server.report_to(Manager::of_this_process());
    server.reload_with(config, Box::new(move || options.load_again()));
    server.run()?;
    info!("stopped");
    Ok(())
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
