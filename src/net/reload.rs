//! The configuration, read again while everybody is here.
//!
//! Owns: that all of it is taken over or none, and that the log says what came of it. Refuses to know: what a change means
//! ([`Exchange::apply`](super::exchange::Exchange::apply)), and where the configuration comes from.

use log::{info, warn};

use super::exchange::Options;
use super::http::Site;
use super::running::{ReadConfig, Running, Shown};
use super::server::Server;
use crate::host::config::Config;
use crate::host::{descriptors, logging};

impl Server {
    /// The server runs with `config`, and SIGHUP has it take over what `read` says then. Until somebody says so, SIGHUP does nothing.
    pub fn reload_with(&mut self, config: Config, read: ReadConfig) {
        self.running = Some(Running::new(config, read));
    }

    /// Takes over the configuration as it is now: all of it, or where anything is wrong nothing. Nobody is disconnected, and the log says why or what.
    pub(super) fn reload(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        match running.read() {
            None => info!("the hub was started without a configuration file: there is nothing to read again"),
            Some(Err(error)) => warn!("not reloaded, the hub goes on as before: {error}"),
            Some(Ok((next, shown))) => self.take_over(running.config_mut(), next, shown),
        }
        self.running = Some(running);
    }

    fn take_over(&mut self, config: &mut Config, next: Config, shown: Shown) {
        let mut changes = config.changes_to(&next);
        // What is told is told at whichever level shows more.
        logging::set_level(config.log.max(next.log));
        for warning in next.warnings.iter().filter(|warning| !config.warnings.contains(warning)) {
            warn!("{warning}");
        }
        if next.connections > config.connections
            && let Err(missing) = descriptors::raise(next.connections.into())
        {
            warn!("{missing}");
        }
        self.exchange.apply(self.clock.read(), Options::from(&next), next.hub.clone());
        changes.extend(self.show(shown));
        for change in &changes {
            info!("reloaded: {change}");
        }
        if changes.is_empty() {
            info!("reloaded: nothing has changed");
        }
        logging::set_level(next.log);
        config.adopt(next);
    }

    /// Shows this to those who connect from now on, where the hub speaks TLS. Says so where it is another certificate.
    #[cfg(feature = "tls")]
    fn show(&mut self, shown: Shown) -> Option<String> {
        let (tls, certificates) = (self.tls.as_mut()?, shown?);
        let known = std::mem::take(&mut tls.certificates.warnings);
        for warning in certificates.warnings.iter().filter(|warning| !known.contains(warning)) {
            warn!("{warning}");
        }
        if certificates.are_as(&tls.certificates) {
            tls.certificates.warnings = certificates.warnings;
            return None;
        }
        let fingerprint = certificates.fingerprint();
        tls.certificates = certificates;
        self.tell_trust();
        Some(format!("whoever connects from now on is shown another certificate, SHA-256 {fingerprint}"))
    }

    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unused_self)] // as where there is something to show
    fn show(&mut self, (): Shown) -> Option<String> {
        None
    }
}

impl From<&Config> for Options {
    fn from(config: &Config) -> Options {
        let site = Site {
            allowed_origins: config.allowed_origins.clone(),
            names: config.names.clone(),
            metrics: config.metrics,
            ..Site::default()
        };
        Options {
            connections: config.connections,
            connections_per_ip: config.connections_per_ip,
            message_bytes: config.message_bytes,
            reply_bytes: config.reply_bytes,
            secure_site: Site { secure: true, ..site.clone() },
            site,
        }
    }
}
