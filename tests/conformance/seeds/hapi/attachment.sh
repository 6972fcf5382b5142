curl -X POST -H "Authorization: Bearer <token>" \
  -H "Content-Type: application/json" \
  -d '{
    "text": "Here is the design",
    "attachments": [
      {
        "id": "att_123",
        "filename": "design.png",
        "mimeType": "image/png",
        "size": 102400,
        "path": "/tmp/hapi-upload-abc123-design.png"
      }
    ]
  }' \
  http://127.0.0.1:3006/api/sessions/abc123/messages
