import { defineConfig } from 'vite'

export default defineConfig({
  build: {
    target: 'es2022',
    // One module and one style sheet: nothing to preload, no inline script, so that a strict policy holds.
    modulePreload: false,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000
  }
})
