//! The configuration that the hub runs with.
//!
//! Owns: which it is, and that all of another is read before any of it is taken over: the file, and the certificates that it names. Refuses to know: how
//! it is taken over (`reload`), and where it comes from.

#[cfg(feature = "tls")]
use crate::host::certificates::Certificates;
use crate::host::config::{Config, ConfigError};

/// Reads the configuration as it is now; `None` where the hub was started without a file.
pub type ReadConfig = Box<dyn Fn() -> Option<Result<Config, ConfigError>>>;

/// What the hub runs with.
pub(super) struct Running {
    config: Config,
    read: ReadConfig,
}

/// What is shown to those who connect over TLS.
#[cfg(feature = "tls")]
pub(super) type Shown = Option<Certificates>;
#[cfg(not(feature = "tls"))]
pub(super) type Shown = ();

impl Running {
    pub fn new(config: Config, read: ReadConfig) -> Self {
        Running { config, read }
    }

    /// What holds now.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same, for whoever has taken another over.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    /// All that there is to read. Nothing is taken over yet.
    pub fn read(&self) -> Option<Result<(Config, Shown), ConfigError>> {
        let config = match (self.read)()? {
            Ok(config) => config,
            Err(error) => return Some(Err(error)),
        };
        #[cfg(feature = "tls")]
        let shown = config.certificates();
        #[cfg(not(feature = "tls"))]
        let shown = Ok(());
        Some(shown.map(|shown| (config, shown)))
    }
}
