//! Values made by hand, where napi's own conversions would copy once more or answer later.

use std::ptr;

use napi::{
    Result, ValueType,
    bindgen_prelude::{ToNapiValue, TypeName},
    check_status, sys,
};

/// A value that exists already.
pub struct Made(pub sys::napi_value);

impl ToNapiValue for Made {
    unsafe fn to_napi_value(_: sys::napi_env, value: Self) -> Result<sys::napi_value> {
        Ok(value.0)
    }
}

impl TypeName for Made {
    fn type_name() -> &'static str {
        "unknown"
    }

    fn value_type() -> ValueType {
        ValueType::Unknown
    }
}

/// A string of ASCII text: V8 copies its bytes as they are.
///
/// # Safety
/// On the thread of `env`, inside a call from Node. `bytes` are ASCII.
pub unsafe fn ascii(env: sys::napi_env, bytes: &[u8]) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // Fails only for strings beyond V8's limit of half a gigabyte; a batch is far below. The
    // caller of a failed call sees `undefined`.
    unsafe {
        sys::napi_create_string_latin1(
            env,
            bytes.as_ptr().cast(),
            bytes.len().cast_signed(),
            &raw mut value,
        )
    };
    value
}

/// `null`.
///
/// # Safety
/// On the thread of `env`, inside a call from Node.
pub unsafe fn null(env: sys::napi_env) -> sys::napi_value {
    let mut value = ptr::null_mut();
    unsafe { sys::napi_get_null(env, &raw mut value) };
    value
}

/// A list of two.
///
/// # Safety
/// On the thread of `env`, inside a call from Node.
pub unsafe fn pair(
    env: sys::napi_env,
    first: sys::napi_value,
    second: sys::napi_value,
) -> sys::napi_value {
    let mut list = ptr::null_mut();
    unsafe {
        sys::napi_create_array_with_length(env, 2, &raw mut list);
        sys::napi_set_element(env, list, 0, first);
        sys::napi_set_element(env, list, 1, second);
    }
    list
}

/// The other end of a promise. It may travel between threads, and is settled on its own.
pub struct Deferred(sys::napi_deferred);

// SAFETY: an opaque handle; only `resolve` uses it, which demands the right thread.
unsafe impl Send for Deferred {}

impl Deferred {
    /// A promise and its other end.
    ///
    /// # Safety
    /// On the thread of `env`, inside a call from Node.
    pub unsafe fn new(env: sys::napi_env) -> Result<(Self, sys::napi_value)> {
        let (mut deferred, mut promise) = (ptr::null_mut(), ptr::null_mut());
        check_status!(unsafe {
            sys::napi_create_promise(env, &raw mut deferred, &raw mut promise)
        })?;
        Ok((Self(deferred), promise))
    }

    /// Resolves the promise. Errors are values too: JavaScript makes and throws them.
    ///
    /// # Safety
    /// On the thread of `env`, inside a call from Node; `value` is of this scope.
    pub unsafe fn resolve(self, env: sys::napi_env, value: sys::napi_value) {
        unsafe { sys::napi_resolve_deferred(env, self.0, value) };
    }
}
