import process from 'node:process'

const VERSION = '0.1.0'
if (process.argv[2] === '--version') process.stdout.write(`${VERSION}\n`)
