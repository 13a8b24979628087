//! Connections: how they are made, checked, lent and given up.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use rustls::RootCertStore;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::OpenPostgresError;
use crate::StoreError;

/// The server gives up a statement after this. That a late one ends is what trimming counts on.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// A server that has not answered by then hangs, and its connection is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit: bytes that were sent and not acknowledged by the server's kernel for so long end a connection.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// After a failed connect the next one is tried after 50 ms, then twice that, up to 2 s.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

pub(super) type Params<'a> = [&'a (dyn ToSql + Sync)];

/// A bounded set of connections to one database.
pub(super) struct Connections {
    pool: Pool,
    backoff: Mutex<Backoff>,
    found_unsafe: Arc<Mutex<Option<(&'static str, String)>>>,
}

#[derive(Default)]
struct Backoff {
    failed: u32,
    next_at: Option<Instant>,
}

impl Backoff {
    fn failed(&mut self, now: Instant) {
        let pause = BACKOFF_MIN.saturating_mul(1 << self.failed.min(16)).min(BACKOFF_MAX);
        self.failed = self.failed.saturating_add(1);
        self.next_at = Some(now + pause);
    }

    fn waits(&self, now: Instant) -> bool {
        self.next_at.is_some_and(|at| now < at)
    }
}

impl Connections {
    pub(super) fn new(address: &str, connections_max: usize) -> Result<Arc<Self>, OpenPostgresError> {
        let mut config: Config = address
            .parse()
            .map_err(|error: tokio_postgres::Error| OpenPostgresError::Address(error.into()))?;
        config.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(SILENCE_MAX).keepalives_idle(SILENCE_MAX);
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_application_name().is_none() {
            config.application_name("ringleaf");
        }
        if config.get_ssl_mode() == SslMode::Prefer && config.get_hosts().iter().all(is_local) {
            // Distributions give a local server a certificate that nobody signed.
            config.ssl_mode(SslMode::Disable);
        }
        let tls = tls(config.get_ssl_mode())?;
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(config, tls, ManagerConfig { recycling_method });
        let found_unsafe = Arc::new(Mutex::new(None));
        let found = found_unsafe.clone();
        let pool = Pool::builder(manager)
            .max_size(connections_max.max(2))
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT_TIMEOUT))
            .wait_timeout(Some(STATEMENT_TIMEOUT))
            .post_create(Hook::async_fn(move |client, _| Box::pin(set_up(client, found.clone()))))
            .build()
            .map_err(OpenPostgresError::database)?;
        Ok(Arc::new(Self { pool, backoff: Mutex::default(), found_unsafe }))
    }

    /// Lends a connection. While the database is away most callers hear so at once, and one in each pause tries.
    pub(super) async fn get(&self) -> Result<Lent, StoreError> {
        if self.backoff.lock().expect("no holder of this lock panics").waits(Instant::now()) {
            return Err(StoreError::Away("the database is away; the next try comes soon".into()));
        }
        let got = self.pool.get().await;
        let mut backoff = self.backoff.lock().expect("no holder of this lock panics");
        match got {
            Ok(object) => {
                if backoff.failed > 0 {
                    tracing::info!("the database is back");
                }
                *backoff = Backoff::default();
                Ok(Lent { object: Some(object), broken: false })
            }
            Err(error) => {
                let error = StoreError::from(error);
                if matches!(error, StoreError::Away(_)) {
                    if backoff.failed == 0 {
                        tracing::warn!(error = %super::with_sources(&error), "the database is away");
                    }
                    backoff.failed(Instant::now());
                }
                Err(error)
            }
        }
    }

    /// Looks with a session of its own, so that whoever opens the store hears which setting it is.
    pub(super) async fn refuse_unsafe_settings(&self) -> Result<(), OpenPostgresError> {
        match self.pool.get().await {
            Ok(_) => Ok(()),
            Err(PoolError::PostCreateHook(HookError::Message(_))) => {
                let found = self.found_unsafe.lock().expect("no holder of this lock panics").clone();
                Err(found.map_or_else(
                    || OpenPostgresError::database("an unsafe setting"),
                    |(setting, value)| OpenPostgresError::Unsafe { setting, value },
                ))
            }
            Err(error) => Err(OpenPostgresError::database(StoreError::from(error))),
        }
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// A connection for one operation. It goes back unless something was left open on it.
pub(super) struct Lent {
    object: Option<Object>,
    broken: bool,
}

const LENT: &str = "a connection is there until it is dropped";

impl Lent {
    /// Runs one prepared statement, with binary parameters and results.
    ///
    /// # Cancel safety
    ///
    /// A statement whose future is dropped may still be carried out.
    pub(super) async fn try_query(
        &mut self,
        sql: &'static str,
        params: &Params<'_>,
    ) -> Result<Result<Vec<Row>, tokio_postgres::Error>, StoreError> {
        let object = self.object.as_ref().expect(LENT);
        let work = async {
            let statement = object.prepare_cached(sql).await?;
            object.query(&statement, params).await
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, work).await {
            Ok(outcome) => {
                // A replica that was a primary before: another connection finds the new one.
                self.broken |= outcome.as_ref().is_err_and(|error| {
                    error.code() == Some(&tokio_postgres::error::SqlState::READ_ONLY_SQL_TRANSACTION)
                });
                Ok(outcome)
            }
            Err(elapsed) => {
                self.broken = true;
                Err(StoreError::Away(elapsed.into()))
            }
        }
    }

    pub(super) async fn query(
        &mut self,
        sql: &'static str,
        params: &Params<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.try_query(sql, params).await??)
    }

    /// Begins a transaction. Until [`Lent::end`], dropping this gives up the connection, which rolls back.
    pub(super) async fn begin(&mut self, sql: &'static str) -> Result<(), StoreError> {
        self.broken = true;
        self.batch(sql).await
    }

    pub(super) async fn end(&mut self) -> Result<(), StoreError> {
        self.batch("COMMIT").await?;
        self.broken = false;
        Ok(())
    }

    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        let object = self.object.as_ref().expect(LENT);
        match tokio::time::timeout(ANSWER_TIMEOUT, object.batch_execute(sql)).await {
            Ok(outcome) => Ok(outcome?),
            Err(elapsed) => {
                self.broken = true;
                Err(StoreError::Away(elapsed.into()))
            }
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(object) = self.object.take().filter(|_| self.broken) {
            drop(Object::take(object));
        }
    }
}

/// Every new session is set up and checked: what the server promises may have changed since the store was opened.
async fn set_up(
    client: &mut deadpool_postgres::ClientWrapper,
    found_unsafe: Arc<Mutex<Option<(&'static str, String)>>>,
) -> Result<(), HookError> {
    let timeout = STATEMENT_TIMEOUT.as_millis();
    // The second: a process that is stopped inside a transaction must not keep its locks.
    let limits =
        format!("SET statement_timeout = {timeout}; SET idle_in_transaction_session_timeout = {timeout}");
    client.batch_execute(&limits).await.map_err(HookError::Backend)?;
    let Some((setting, value)) = unsafe_setting(client).await.map_err(HookError::Backend)? else {
        return Ok(());
    };
    let error = OpenPostgresError::Unsafe { setting, value: value.clone() };
    *found_unsafe.lock().expect("no holder of this lock panics") = Some((setting, value));
    Err(HookError::Message(error.to_string().into()))
}

/// A setting under which an answered commit may be lost.
async fn unsafe_setting(client: &Client) -> Result<Option<(&'static str, String)>, tokio_postgres::Error> {
    for setting in ["fsync", "synchronous_commit"] {
        // A database that only speaks PostgreSQL's protocol may not know the setting.
        let row = client.query_one("SELECT current_setting($1, true)", &[&setting]).await?;
        if let Some(value) = row.get::<_, Option<String>>(0).filter(|value| value == "off") {
            return Ok(Some((setting, value)));
        }
    }
    Ok(None)
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
    }
}

fn tls(mode: SslMode) -> Result<MakeRustlsConnect, OpenPostgresError> {
    let mut roots = RootCertStore::empty();
    if mode != SslMode::Disable {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let error = found.errors.into_iter().next();
            return Err(OpenPostgresError::Certificates(match error {
                Some(error) => error.into(),
                None => "no root certificate was found".into(),
            }));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenPostgresError::Certificates(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_connects_double_up_to_a_limit() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        assert!(!backoff.waits(now));
        for pause in [50, 100, 200, 400, 800, 1_600, 2_000, 2_000] {
            backoff.failed(now);
            assert!(backoff.waits(now + Duration::from_millis(pause - 1)));
            assert!(!backoff.waits(now + Duration::from_millis(pause)), "{pause}");
        }
    }
}
