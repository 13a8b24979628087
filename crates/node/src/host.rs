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

impl DocumentHost for Host {
    fn try_submit(&self, request: Request) -> Result<(), SubmitError> {
        let command = Command::Request { router: self.router, attachment: self.attached.attachment, request };
        self.resident.mailbox.try_send(command).map_err(|refused| match refused {
            TrySendError::Full(Command::Request { request, .. }) => SubmitError::Full(request),
            TrySendError::Closed(Command::Request { request, .. }) => SubmitError::Gone(request),
            TrySendError::Full(_) | TrySendError::Closed(_) => {
                unreachable!("the command that was sent comes back")
            }
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), Gone>> {
        self.resident.room().boxed()
    }
}
