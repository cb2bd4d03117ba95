#!/usr/bin/env node

require('../lib/cli/main.js').main(process.argv.slice(2))
