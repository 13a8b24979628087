//! What a router holds of a document.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringleaf_types::RouterId;
use ringleaf_wire::{DocumentHost, Gone, Request, SubmitError};
use tokio::sync::mpsc::error::TrySendError;

use crate::command::{Attached, Command};
use crate::registry::Resident;

/// One router's attachment to one document. Dropping it lets go.
pub(crate) struct Host {
    pub(crate) router: RouterId,
    pub(crate) resident: Arc<Resident>,
    pub(crate) attached: Attached,
}

/// What could not be put into the mailbox comes back as it was.
fn sent(command: Command) -> Request {
    match command {
        Command::Request { request, .. } => request,
        other => unreachable!("{other:?} was not sent"),
    }
}

impl DocumentHost for Host {
    fn try_submit(&self, request: Request) -> Result<(), SubmitError> {
        let command = Command::Request { router: self.router, attachment: self.attached.attachment, request };
        self.resident.mailbox.try_send(Box::new(command)).map_err(|refused| match refused {
            TrySendError::Full(command) => SubmitError::Full(sent(*command)),
            TrySendError::Closed(command) => SubmitError::Gone(sent(*command)),
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), Gone>> {
        self.resident.room().boxed()
    }
}
