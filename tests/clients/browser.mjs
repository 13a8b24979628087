// Two people in two browsers on the demo page: node browser.mjs URL FOLDER-FOR-SCREENSHOTS
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const [url, screenshots] = process.argv.slice(2)
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']
})
const troubles = []

const DESKTOP = { width: 1280, height: 800 }
const PHONE = { width: 390, height: 844 }

const open = async (colorScheme, viewport, document = 'river-notes') => {
  const context = await browser.newContext({ colorScheme, viewport, reducedMotion: 'reduce', deviceScaleFactor: viewport === PHONE ? 2 : 1 })
  const page = await context.newPage()
  page.on('pageerror', (error) => troubles.push(`error in the page: ${error.stack}`))
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) troubles.push(`console: ${message.text()}`) })
  page.on('request', (request) => { if (new URL(request.url()).host !== new URL(url).host) troubles.push(`a request to ${request.url()}`) })
  await page.goto(`${url}#${document}`)
  await page.waitForSelector('#saved[data-state="saved"]')
  return page
}

const shot = (page, name) => page.screenshot({ path: join(screenshots, `${name}.png`) })

const introduce = async (page, name, hue, picture) => {
  await page.click('.avatar.mine')
  await page.fill('#my-name', name)
  await page.check(`#swatches input[value="${hue}"]`)
  if (picture) await shot(page, picture)
  await page.click('#me button')
}

const text = (page) => page.evaluate(() => {
  const lines = [...document.querySelectorAll('.cm-line')].map((line) => {
    const copy = line.cloneNode(true)
    copy.querySelectorAll('.caret').forEach((caret) => caret.remove())
    return copy.textContent
  })
  return lines.join('\n')
})

const reads = (page, words) => page.waitForFunction(
  (words) => document.querySelector('.cm-content').textContent.replaceAll('\u2060', '').includes(words), words)

const type = async (page, words) => {
  await page.locator('.cm-content').press('Control+End')
  await page.keyboard.type(words)
}

try {
  const ann = await open('light', DESKTOP)
  const bob = await open('dark', DESKTOP)
  await introduce(ann, 'Ann Lee', 1, 'dialog-light')
  await introduce(bob, 'Bob', 5)
  await shot(ann, 'empty-light')

  await type(ann, '# A walk along the river\n\nWe meet at **nine** by the old bridge. Bring a coat: the *wind* is cold in the shade.\n\n')
  await reads(bob, 'in the shade.')
  await type(bob, '## What to bring\n\n- water and something to eat\nthe map (see `trails/north.gpx`)\n\n\n')
  await reads(ann, 'north.gpx`)')
  const typed = Date.now()
  await type(ann, 'Whoever is late takes the bus to the mill.\n\n')
  await reads(bob, 'bus to the mill')
  console.log(`a sentence was typed and seen in ${Date.now() - typed} ms`)

  // Each sees the other's cursor, with the name on it, and who is here.
  await ann.waitForSelector('.caret-name:text-is("Bob")')
  await bob.waitForSelector('.caret-name:text-is("Ann Lee")')
  await ann.waitForSelector('.avatar[aria-label^="Bob is here"]')
  await bob.locator('.cm-line').first().dblclick()
  await ann.waitForSelector('.selection')
  await ann.waitForSelector('#saved[data-state="saved"]')
  await shot(ann, 'desktop-light')
  await shot(bob, 'desktop-dark')

  // What is typed without a connection is only here, and says so.
  await bob.click('.switch')
  await bob.waitForSelector('#saved[data-state="offline"]')
  await type(bob, 'Typed on the train')
  assert.match(await bob.textContent('#saved-text'), /edits only here/)
  await ann.waitForFunction(() => document.querySelectorAll('.avatar').length === 1)
  assert.ok(!(await text(ann)).includes('train'), 'the plug is honest')
  await shot(bob, 'unplugged-dark')
  await bob.click('.switch')
  await reads(ann, 'Typed on the train')
  await bob.waitForSelector('#saved[data-state="saved"]')
  await ann.waitForSelector('.avatar[aria-label^="Bob is here"]', { timeout: 20_000 })

  // A third person comes late, on a phone.
  const phone = await open('light', PHONE)
  await reads(phone, 'A walk along the river')
  await introduce(phone, 'Chi', 3)
  await ann.waitForSelector('.avatar[aria-label^="Chi is here"]')
  await type(phone, '\n\nI come by bike.')
  await reads(bob, 'by bike')
  await ann.waitForFunction(() => document.querySelector('#round-trip').textContent !== '–')
  await shot(phone, 'phone-light')
  await phone.emulateMedia({ colorScheme: 'dark' })
  await shot(phone, 'phone-dark')
  await shot(ann, 'three-light')
  console.log(`round trip ${await ann.textContent('#round-trip')}, to disk and back ${await ann.textContent('#save-time')}`)

  const [one, two, three] = await Promise.all([ann, bob, phone].map(text))
  assert.equal(one, two)
  assert.equal(one, three)

  // The small things: a wide page must not scroll sideways, and undo takes back one's own words only.
  for (const page of [ann, bob, phone]) {
    const wide = await page.evaluate(() => [...document.querySelectorAll('body, body *')]
      .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
      .map((element) => `${element.tagName} ${element.id} ${element.className}`))
    assert.deepEqual(wide, [], 'nothing sticks out to the right')
  }
  await phone.keyboard.press('Control+z')
  await ann.waitForFunction(() => !document.querySelector('.cm-content').textContent.includes('by bike'))
  assert.ok((await text(ann)).includes('Typed on the train'))
  assert.deepEqual(troubles, [])
} catch (error) {
  console.error([...troubles, error.stack].join('\n'))
  process.exitCode = 1
} finally {
  await browser.close()
}
