'use strict'

/** Shorter ones would blacken words that have nothing to do with them. */
const SHORTEST_SECRET = 4

/** Takes passwords out of text that is meant for people. */
function redact(text) {
  let clean = text
    .replace(/([a-z][a-z0-9+.-]*:\/\/[^\s:@/?#]*):[^\s@/]*@/gi, '$1:***@')
    .replace(/\b((?:ssl)?password)=[^&\s]*/gi, '$1=***')
  for (const secret of secrets()) clean = clean.replaceAll(secret, '***')
  return clean
}

/** The passwords this process was given, as they were written and as they are meant. */
function secrets() {
  const found = new Set([process.env.PGPASSWORD])
  for (const text of [process.env.DATABASE_URL, process.env.REDIS_URL, ...process.argv.slice(2)]) {
    // From the first colon after '//' to the last '@' before a path: unescaped ones may be inside.
    const password = /:\/\/[^:@/]*:(.*)@/.exec(text ?? '')?.[1] ?? /[?&]password=([^&]*)/.exec(text ?? '')?.[1]
    if (password) found.add(password).add(decoded(password))
  }
  return [...found].filter(secret => secret?.length >= SHORTEST_SECRET)
}

function decoded(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

module.exports = { redact }
