//! How a connection to etcd is made.

use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};

use super::{EtcdConfig, EtcdTls};

/// Without these an etcd that hangs is never noticed: a watch just waits.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects to one endpoint.
pub(crate) async fn connect(config: &EtcdConfig, endpoint: &str) -> Result<Client, String> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(config.timeout)
        .with_timeout(config.timeout)
        .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
        .with_keep_alive_while_idle(true)
        // A member that has lost the others would let us wait for ever.
        .with_require_leader(true);
    if let Some((user, password)) = &config.user_password {
        options = options.with_user(user, password);
    }
    if let Some(tls) = &config.tls {
        options =
            options.with_tls(files(tls).await.map_err(|error| format!("certificates for etcd: {error}"))?);
    }
    let client = Client::connect([endpoint], Some(options));
    match tokio::time::timeout(config.timeout, client).await {
        Ok(client) => client.map_err(|error| error.to_string()),
        Err(_) => Err("no answer".into()),
    }
}

async fn files(tls: &EtcdTls) -> std::io::Result<TlsOptions> {
    let tls = tls.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut options = TlsOptions::new();
        if let Some(ca) = &tls.ca {
            options = options.ca_certificate(Certificate::from_pem(std::fs::read(ca)?));
        }
        if let Some((certificate, key)) = &tls.identity {
            options = options.identity(Identity::from_pem(std::fs::read(certificate)?, std::fs::read(key)?));
        }
        Ok(options)
    });
    read.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
