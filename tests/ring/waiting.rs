//! What takes its time: these run side by side, beside everything else.

mod chaos;
mod closing;
mod cuts;
mod etcd;
mod frozen;
mod kills;
mod names;
mod postgres;
mod rolling;
mod told;
