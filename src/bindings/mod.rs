//! What Node sees. napi types live here and nowhere else.

#![allow(unsafe_code)]

mod file_lock;
