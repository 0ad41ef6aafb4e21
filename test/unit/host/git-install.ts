import { join } from 'node:path'
import { openTestGit } from './git-fixture.ts'

const [mirrors = '', out = '', url = '', nodes = '0'] = process.argv.slice(2)
const port = openTestGit(mirrors)
process.stdout.write('begun\n')
await Promise.all(
  Array.from({ length: Number(nodes) }, async (_, index) => {
    const from = `${url}/node-${index}/.git`
    const { commit } = await port.fetch(from, {}, { recursive: true })
    await port.checkout(from, commit, join(out, `node-${index}`), { recursive: true })
  }),
)
