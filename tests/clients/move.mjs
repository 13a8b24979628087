// Somebody types while the document moves from node to node: node move.mjs URL FOLDER-FOR-SCREENSHOTS
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const MOVES = 3
const [url, screenshots] = process.argv.slice(2)
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']
})
const troubles = []

const open = async () => {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' })).newPage()
  page.on('pageerror', (error) => troubles.push(`error in the page: ${error.stack}`))
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) troubles.push(`console: ${message.text()}`) })
  await page.goto(`${url}#on-the-move`)
  await page.waitForSelector('#saved[data-state="saved"]', { timeout: 60_000 })
  return page
}

const reads = (page, words) => page.waitForFunction(
  (words) => document.querySelector('.cm-content').textContent.includes(words), words, { timeout: 60_000 })

const owner = async (page) => {
  const shown = await page.waitForFunction(
    () => /^(\S+) · epoch (\d+)$/.exec(document.querySelector('#owner').textContent), null, { timeout: 60_000 })
  const [, node, epoch] = await shown.jsonValue()
  return { node, epoch: Number(epoch) }
}

try {
  const [ann, bob] = [await open(), await open()]
  // A socket that closes would be opened again, and be a second one.
  const sockets = []
  for (const page of [ann, bob]) page.on('websocket', (socket) => sockets.push(socket.url()))
  await ann.locator('.cm-content').press('Control+End')
  await ann.keyboard.type('Before. ')
  await reads(bob, 'Before.')
  let before = await owner(ann)
  await ann.screenshot({ path: join(screenshots, 'move-before.png') })
  for (let move = 1; move <= MOVES; move += 1) {
    await ann.waitForSelector('#move:not([hidden]):not([disabled])', { timeout: 60_000 })
    await bob.click('.cm-content')
    await ann.click('#move')
    // Bob types on while the document is on its way.
    await bob.keyboard.type(`Move ${move}, typed meanwhile. `, { delay: 5 })
    await ann.waitForFunction(
      (node) => !document.querySelector('#owner').textContent.startsWith(`${node} `), before.node, { timeout: 60_000 })
    const after = await owner(ann)
    assert.notEqual(after.node, before.node)
    assert.ok(after.epoch > before.epoch, `epoch ${after.epoch} follows ${before.epoch}`)
    await reads(ann, `Move ${move}, typed meanwhile.`)
    await ann.waitForSelector('#saved[data-state="saved"]')
    await ann.screenshot({ path: join(screenshots, `move-${move}.png`) })
    before = after
  }
  await bob.waitForSelector('#saved[data-state="saved"]')
  assert.deepEqual(sockets, [], 'no socket was opened again')
  assert.deepEqual(troubles, [])
  console.log(`a document moved ${MOVES} times under two editors, now at epoch ${before.epoch}`)
} catch (error) {
  console.error([...troubles, error.stack].join('\n'))
  process.exitCode = 1
} finally {
  await browser.close()
}
