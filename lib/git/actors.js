'use strict'

/** Programs that commit on a schedule or an event. */
const BOTS = [
  ['dependabot', /dependabot/i],
  ['renovate', /renovate/i],
  ['greenkeeper', /greenkeeper/i],
  ['github-actions', /github-actions|actions-user/i],
  ['other-bot', /\[bot\]|(?:^|[\s<_-])bot@|[-_]bot\b|\bsemantic-release\b/i]
]
/** Coding agents, as they sign commits or are thanked in Co-authored-by lines. */
const AGENTS = [
  ['anthropic', /@anthropic\.com|\bclaude\[bot\]/i],
  ['github-copilot', /copilot/i],
  ['cursor', /cursoragent|@cursor\.(?:com|sh)/i],
  ['openai', /@openai\.com|\bcodex\b/i],
  ['devin', /devin-ai/i],
  ['google', /google-labs-jules|\bgemini-code/i]
]

/**
 * Who made a commit: a 'bot', an 'agent', a person with an agent ('agent-assisted') or a 'human'.
 * @param {string} name
 * @param {string} email
 * @param {readonly string[]} coAuthors
 * @returns {{ actorType: string, provider?: string }}
 */
function actorOf(name, email, coAuthors) {
  const author = `${name} <${email}>`
  const agent = match(AGENTS, author)
  if (agent) return { actorType: 'agent', provider: agent }
  const bot = match(BOTS, author)
  if (bot) return { actorType: 'bot', provider: bot }
  for (const coAuthor of coAuthors) {
    const provider = match(AGENTS, coAuthor)
    if (provider) return { actorType: 'agent-assisted', provider }
  }
  return { actorType: 'human' }
}

function match(table, text) {
  return table.find(([, pattern]) => pattern.test(text))?.[0]
}

module.exports = { actorOf }
