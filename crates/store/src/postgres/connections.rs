//! Connections: how they are made, checked, lent and given up.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use rustls::RootCertStore;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::OpenPostgresError;
use super::session::{self, Promises};
use crate::StoreError;

/// The server gives up a statement after this. That a late one ends is what trimming counts on.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// A server that has not answered by then hangs, and its connection is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit: bytes that were sent and not acknowledged by the server's kernel for so long end a connection.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// After so long without an answer another connection is asked what may be asked twice. An answer takes milliseconds, so
/// few healthy ones come later, and a connection whose other end has gone (a balancer that forgot it, a frozen server
/// process) holds up acknowledgements for no longer than a node that hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// A statement that was given up after so long casts doubt on connections that have rested since before it was sent.
/// Shorter than any caller's patience, longer than a server takes that has nothing else to do.
const DOUBT_AFTER: Duration = Duration::from_millis(400);
/// After a failed connect the next one is tried after 50 ms, then twice that, up to 2 s.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

pub(super) type Params<'a> = [&'a (dyn ToSql + Sync)];

/// A bounded set of connections to one database.
pub(super) struct Connections {
    pool: Pool,
    backoff: Mutex<Backoff>,
    pub(super) promises: Arc<Promises>,
    /// How often in a row a second connection was asked in vain, for the first one answered after all.
    impatient: AtomicU32,
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
        let promises = Arc::new(Promises::default());
        let kept = promises.clone();
        let pool = Pool::builder(manager)
            .max_size(connections_max.max(2))
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT_TIMEOUT))
            .wait_timeout(Some(STATEMENT_TIMEOUT))
            .post_create(Hook::async_fn(move |client, _| Box::pin(session::set_up(client, kept.clone()))))
            .build()
            .map_err(OpenPostgresError::database)?;
        Ok(Arc::new(Self { pool, backoff: Mutex::default(), promises, impatient: AtomicU32::new(0) }))
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
                Ok(Lent { object: Some(object), broken: false, owed_since: None })
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

    /// Lends a connection on which a transaction has begun. That is no work for a server: one that is silent has gone,
    /// and another connection is tried.
    pub(super) async fn begin(&self, sql: &'static str) -> Result<Lent, StoreError> {
        let mut first = self.get().await?;
        if let Ok(begun) = tokio::time::timeout(PATIENCE, first.begin(sql)).await {
            return begun.map(|()| first);
        }
        // Order: dropped before another one is asked for, so that none is lent that is as old and as silent.
        drop(first);
        let mut second = self.get().await?;
        second.begin(sql).await?;
        Ok(second)
    }

    /// How long an answer is waited for before another connection is asked as well: longer each time that was in vain. A
    /// database that is merely slow gets no more work by it.
    pub(super) fn patience(&self) -> Duration {
        let doublings = self.impatient.load(Ordering::Relaxed).min(8);
        PATIENCE.saturating_mul(1 << doublings).min(ANSWER_TIMEOUT)
    }

    /// Whether the first connection answered after all, when a second one was asked.
    pub(super) fn asked_in_vain(&self, in_vain: bool) {
        if in_vain {
            self.impatient.fetch_add(1, Ordering::Relaxed);
        } else {
            self.impatient.store(0, Ordering::Relaxed);
        }
    }

    /// A statement that was sent at that moment is not answered: connections that have rested since before are given up.
    pub(super) fn doubt_rested(&self, since: Instant) {
        retire(&self.pool, since);
    }

    /// Looks with a session of its own, so that whoever opens the store hears which setting it is.
    pub(super) async fn refuse_unsafe_settings(&self) -> Result<(), OpenPostgresError> {
        match self.pool.get().await {
            Ok(session) => session::refuse_turned_off(&session).await,
            Err(PoolError::PostCreateHook(HookError::Message(_)))
                if let Some((setting, value)) = self.promises.broken() =>
            {
                Err(OpenPostgresError::Unsafe { setting, value })
            }
            Err(error) => Err(OpenPostgresError::database(StoreError::from(error))),
        }
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// A connection for one operation. It goes back unless something was left open on it, an answer among others.
pub(super) struct Lent {
    object: Option<Object>,
    broken: bool,
    /// Since when an answer is awaited. Noted before it is, so that a dropped future leaves it behind.
    owed_since: Option<Instant>,
}

const LENT: &str = "a connection is there until it is dropped";

impl Lent {
    /// Runs one prepared statement, with binary parameters and results.
    ///
    /// # Cancel safety
    ///
    /// A statement whose future is dropped may still be carried out. Its connection is not lent out again.
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
        let outcome = answered(&mut self.owed_since, work).await?;
        // A replica that was a primary before: another connection finds the new one.
        self.broken |= outcome.as_ref().is_err_and(|error| {
            error.code() == Some(&tokio_postgres::error::SqlState::READ_ONLY_SQL_TRANSACTION)
        });
        Ok(outcome)
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
        Ok(answered(&mut self.owed_since, object.batch_execute(sql)).await??)
    }
}

/// Waits for an answer, and notes that it is owed until it is there.
async fn answered<T>(
    owed_since: &mut Option<Instant>,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<Result<T, tokio_postgres::Error>, StoreError> {
    *owed_since = Some(Instant::now());
    let outcome = tokio::time::timeout(ANSWER_TIMEOUT, work).await;
    let outcome = outcome.map_err(|elapsed| StoreError::Away(elapsed.into()))?;
    // A connection that ended meanwhile is no answer.
    if !outcome.as_ref().is_err_and(tokio_postgres::Error::is_closed) {
        *owed_since = None;
    }
    Ok(outcome)
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let silent_since = self.owed_since.filter(|since| since.elapsed() >= DOUBT_AFTER);
        // Order: before this one's place in the pool is free for whoever waits.
        if let Some((since, pool)) = silent_since.zip(Object::pool(&object)) {
            retire(&pool, since);
        }
        if self.broken || self.owed_since.is_some() {
            drop(Object::take(object));
        }
    }
}

/// Gives up connections that nobody has used since then: what made one silent did it to those that rested, too.
fn retire(pool: &Pool, since: Instant) {
    let removed = pool.retain(|_, used| used.recycled.unwrap_or(used.created) >= since).removed.len();
    if removed > 0 {
        let elapsed_ms = since.elapsed().as_millis();
        tracing::info!(
            connections = removed,
            elapsed_ms,
            "the database is silent: connections are made anew"
        );
    }
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
