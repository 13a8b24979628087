//! What takes its time: these run side by side, beside everything else.

mod kills;
mod rolling;
